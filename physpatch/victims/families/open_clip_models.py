"""CLIP by open_clip: classes by the user's own names, compared as texts with the picture (Radford et al. 2021, section 3.1)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibration.common.errors import InputError, UnavailableError, first_line, unknown_name
from calibration.common.extras import import_extra
from calibration.common.files import file_sha256
from physpatch.victims.download import reachable, stall_limit
from physpatch.victims.families.base import wrapped
from physpatch.victims.labels import imagenet_categories, read_labels
from physpatch.victims.preprocessing import Adaptation, Preprocessing, as_published
from physpatch.victims.protocol import BareFamily, CatalogueEntry, Victim, WeightsInfo
from physpatch.victims.weights import fill_network, read_state

PREFIX = "clip:"
_PROMPTS = ("a photo of a {}.",)
_HUB_URL = "https://huggingface.co"
_TEXTS_AT_ONCE = 64


class OpenClipModels(BareFamily):
    """CLIP models of open_clip: ``clip:ViT-B-32`` with ``--weights``, or ``clip:ViT-B-32/laion2b_s34b_b79k``."""

    name: ClassVar[str] = "open-clip"
    summary: ClassVar[str] = "CLIP by open_clip, with your own class names by --labels"

    def catalogue(self) -> list[CatalogueEntry]:
        source = "--weights FILE, or NAME/TAG by open_clip (pip install 'physpatch[clip]')"
        return [CatalogueEntry(f"{PREFIX}NAME", "classify", source, find_spec("open_clip") is not None)]

    def knows(self, name: str) -> bool:
        return name.startswith(PREFIX)

    def load_adapted(self, name: str, weights: Path | None, trust: bool, said: Adaptation) -> Victim:
        clip = import_extra("open_clip", "clip")
        architecture, _, tag = name.removeprefix(PREFIX).partition("/")
        if architecture not in clip.list_models():
            raise unknown_name("CLIP model", architecture, clip.list_models())
        published = _of_tag(clip, architecture, tag)
        names = imagenet_categories() if said.labels is None else read_labels(said.labels)
        if len(names) < 2:
            raise InputError(f"{said.labels} names 1 class; {name} compares classes, so name two or more")
        file = weights or _published(clip, architecture, tag)
        state = read_state(file, trust)
        network, tokenise = _built(clip, architecture, bool(published.pop("quick_gelu", False)))
        fill_network(network, state, file, architecture)
        texts = _embedded(network, tokenise, names, said.prompts or _PROMPTS)
        info = WeightsInfo(name if weights is None else str(weights), file_sha256(file))
        picture: dict[str, Any] = network.visual.preprocess_cfg | published
        size = network.visual.image_size
        side = size if isinstance(size, int) else size[0]
        plain = Preprocessing(side, side, tuple(picture["mean"]), tuple(picture["std"]))
        usual, otherwise = as_published(plain, picture.get("interpolation"), picture.get("resize_mode"))
        judge = _ZeroShot(network.visual, texts, float(network.logit_scale.exp()))
        victim = wrapped(judge, name, info, said, usual, categories=names).with_remark(otherwise)
        return victim if tag or said.mean or said.std else victim.with_remark(_guessed(usual))


def _of_tag(clip: Any, architecture: str, tag: str) -> dict[str, Any]:
    """Return what published weights want, which the architecture alone does not say; empty without a tag.

    That is how photographs are prepared, and whether the network computes GELU quickly, as OpenAI's own did.

    Raises:
        InputError: open_clip publishes no weights of that tag.
    """
    if not tag:
        return {}
    tags = clip.list_pretrained_tags_by_model(architecture)
    if not tags:
        raise InputError(f"open_clip publishes no weights of {architecture}; leave out /{tag}, and give --weights FILE")
    if tag not in tags:
        raise unknown_name(f"tag of {architecture}", tag, tags)
    named = clip.get_pretrained_cfg(architecture, tag)
    keys = ("mean", "std", "interpolation", "resize_mode", "quick_gelu")
    return {key: named[key] for key in keys if named.get(key) is not None}


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep open_clip from warning that it loads no weights, which is done here, and from setting up the root logger for it."""
    root, silent, before = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    root.addHandler(silent)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
        root.removeHandler(silent)


def _guessed(used: Preprocessing) -> str:
    """Say by which numbers photographs are prepared for weights of one's own, which do not tell: CLIP's, as in open_clip."""
    mean, std = (", ".join(f"{value:.3g}" for value in values) for values in (used.mean, used.std))
    return (
        f"its weights do not say how photographs are prepared, so it is as for OpenAI's CLIP: mean {mean}, standard deviation "
        f"{std}, {used.interpolation}; name the tag of published weights, too (clip:NAME/TAG), or describe it in a model.toml"
    )


def _built(clip: Any, architecture: str, quick: bool) -> tuple[Any, Any]:
    """Build a network without weights, and its tokeniser, which a few architectures have on the hub only.

    Raises:
        UnavailableError: one of these is not cached and cannot be downloaded.
    """
    try:
        with stall_limit(), _unlogged():
            network = clip.create_model(
                architecture, pretrained=None, pretrained_text=False, force_quick_gelu=quick
            ).eval()
            return network.requires_grad_(False), clip.get_tokenizer(architecture)
    except Exception as error:  # the hub's library raises its own, and those of its HTTP client
        raise UnavailableError(
            f"{architecture} cannot be built ({first_line(error)}); its text model may have to be downloaded: run it once "
            "where there is a network, or take another architecture"
        ) from error


class _ZeroShot(nn.Module):
    """The picture's part of a CLIP model: logits (B, K) are its likeness to the embedded texts (K, D) of the classes."""

    def __init__(self, visual: nn.Module, texts: Tensor, scale: float) -> None:
        super().__init__()
        self.visual, self.scale = visual, scale
        self.register_buffer("texts", texts)

    def forward(self, images: Tensor) -> Tensor:
        embedded: Any = self.visual(images)
        pooled = embedded[0] if isinstance(embedded, tuple) else embedded  # CoCa's has tokens beside it
        return self.scale * F.normalize(pooled, dim=-1) @ self.get_buffer("texts").T


@torch.no_grad()
def _embedded(network: Any, tokenise: Any, names: tuple[str, ...], prompts: tuple[str, ...]) -> Tensor:
    """Embed each class as the mean over its prompts: (K, D), of length 1."""
    for prompt in prompts:
        if "{}" not in prompt:
            raise InputError(f"the prompt {prompt!r} has no place for the class; write {{}} there")
    total = torch.zeros(())
    for prompt in prompts:
        texts = [prompt.replace("{}", name) for name in names]
        parts = [texts[i : i + _TEXTS_AT_ONCE] for i in range(0, len(texts), _TEXTS_AT_ONCE)]
        total = total + torch.cat([F.normalize(network.encode_text(tokenise(part)), dim=-1) for part in parts])
    return F.normalize(total, dim=-1)


def _published(clip: Any, architecture: str, tag: str) -> Path:
    """Find published weights in the hub's cache, or download them into it.

    Raises:
        InputError: no tag.
        UnavailableError: the download is impossible or failed.
    """
    tags = clip.list_pretrained_tags_by_model(architecture)
    if not tag:
        alternatives = f", or one of {', '.join(tags[:6])} after /" if tags else ""
        raise InputError(f"which weights of {architecture}? give --weights FILE{alternatives}")
    import huggingface_hub

    repository, _, file = str(clip.get_pretrained_cfg(architecture, tag).get("hf_hub", "")).rpartition("/")
    file = file or "open_clip_model.safetensors"
    cure = "download it on another machine, and give it as --weights FILE"
    if not repository:
        raise InputError(f"{architecture}/{tag} is not on the hub of open_clip; {cure}")
    cached = huggingface_hub.try_to_load_from_cache(repository, file)
    if isinstance(cached, str):
        return Path(cached)
    if not reachable(_HUB_URL):
        raise UnavailableError(f"{file} of {repository} is not cached and its host does not answer; {cure}")
    try:
        with stall_limit():
            return Path(huggingface_hub.hf_hub_download(repository, file))
    except Exception as error:  # the hub's library raises its own, and those of its HTTP client
        raise UnavailableError(f"the download of {repository} failed ({error}); {cure}") from error
