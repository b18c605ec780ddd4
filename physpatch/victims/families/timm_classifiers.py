"""The classifiers of timm by name, with their published weights from its cache or the hub, or with a weights file."""

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from calibration.common.errors import InputError, UnavailableError, unknown_name
from calibration.common.extras import import_extra
from calibration.common.files import file_sha256
from physpatch.victims.download import reachable, stall_limit
from physpatch.victims.families.base import wrapped
from physpatch.victims.labels import numbered_categories
from physpatch.victims.preprocessing import Adaptation, Preprocessing, as_published
from physpatch.victims.protocol import BareFamily, CatalogueEntry, Victim, WeightsInfo
from physpatch.victims.weights import fill_network, read_state

PREFIX = "timm:"
_HUB_URL = "https://huggingface.co"
_HUB_FILE = "model.safetensors"  # never the pickle beside it


class TimmClassifiers(BareFamily):
    """Any classifier of timm, such as ``timm:vit_base_patch16_224``: ViT, Swin, ConvNeXt, EVA and hundreds more."""

    name: ClassVar[str] = "timm"
    summary: ClassVar[str] = "any classifier of timm, by its name there"

    def catalogue(self) -> list[CatalogueEntry]:
        source = "timm's cache or download, or --weights FILE (pip install 'physpatch[timm]')"
        return [CatalogueEntry(f"{PREFIX}NAME", "classify", source, find_spec("timm") is not None)]

    def knows(self, name: str) -> bool:
        return name.startswith(PREFIX)

    def load_adapted(self, name: str, weights: Path | None, trust: bool, said: Adaptation) -> Victim:
        timm = import_extra("timm", "timm")
        architecture = name.removeprefix(PREFIX)
        if not timm.is_model(architecture):
            raise unknown_name("model of timm", architecture, timm.list_models())
        file = weights or _published(timm, architecture)
        network = _build(timm, architecture, file, read_state(file, trust))
        info = WeightsInfo(f"timm {architecture}" if weights is None else str(weights), file_sha256(file))
        usual, otherwise = _preprocessing(network)
        victim = wrapped(network, name, info, said, usual, categories=_categories(network))
        return victim.with_remark(otherwise)


def _published(timm: Any, architecture: str) -> Path:
    """Find the published weights in the hub's cache, or download them into it.

    Raises:
        InputError: timm publishes none.
        UnavailableError: the download is impossible or failed; the message says what to do.
    """
    import huggingface_hub

    config = timm.models.get_pretrained_cfg(architecture)
    if config is None or not config.hf_hub_id:
        raise InputError(f"timm publishes no weights for {architecture}; give --weights FILE")
    repository = config.hf_hub_id
    cached = huggingface_hub.try_to_load_from_cache(repository, _HUB_FILE)
    if isinstance(cached, str):
        return Path(cached)
    cure = f"download {_HUB_FILE} of {repository} on another machine, and give it as --weights FILE"
    if not reachable(_HUB_URL):
        raise UnavailableError(f"the weights of {architecture} are not cached and their host does not answer; {cure}")
    try:
        with stall_limit():
            return Path(huggingface_hub.hf_hub_download(repository, _HUB_FILE))
    except Exception as error:  # the hub's library raises its own, and those of its HTTP client
        raise UnavailableError(f"the download of {architecture} failed ({error}); {cure}") from error


def _build(timm: Any, architecture: str, file: Path, state: dict[str, torch.Tensor]) -> nn.Module:
    """Build the network with these weights; its number of classes follows from the weights."""
    with torch.device("meta"):
        heads = timm.create_model(architecture, pretrained=False).pretrained_cfg.get("classifier") or ""
    head = f"{heads if isinstance(heads, str) else heads[0]}.weight"
    if head not in state:
        raise InputError(f"{file} does not hold weights for {architecture}: it has no {head}")
    network: nn.Module = timm.create_model(architecture, pretrained=False, num_classes=len(state[head]))
    fill_network(network, state, file, architecture)
    return network


def _preprocessing(network: nn.Module) -> tuple[Preprocessing, str]:
    """Read how timm prepares photographs for a network, and what of it is done otherwise here."""
    from timm.data import resolve_model_data_config

    config = resolve_model_data_config(network)
    size = config["input_size"][1]
    usual = Preprocessing(size, math.floor(size / config["crop_pct"]), tuple(config["mean"]), tuple(config["std"]))
    return as_published(usual, config.get("interpolation"), config.get("crop_mode"))


def _categories(network: Any) -> tuple[str, ...]:
    """Name the classes as timm does for its larger sets of ImageNet; ImageNet's 1000 are as in torchvision."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    classes = network.num_classes
    subset = infer_imagenet_subset(network) if classes > len(numbered_categories(1000)) else None
    if subset is None:
        return numbered_categories(classes)
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(classes))
