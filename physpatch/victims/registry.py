"""Victims by name or file, on their device."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console

from calibration.common.errors import InputError, UnavailableError, unknown_name
from physpatch.records.config import absolute, labels_file, model_file
from physpatch.victims.detector import Detector
from physpatch.victims.families import family_of
from physpatch.victims.families.torchvision_classifiers import TorchvisionClassifiers
from physpatch.victims.preprocessing import Adaptation
from physpatch.victims.protocol import Victim

V = TypeVar("V", bound=Victim)
PREFERRED, EMBEDDED = "resnet50", "efficientnet_lite0"


def _say(line: str) -> None:
    # As it is: names of models may have brackets and colons.
    Console(stderr=True).print(line, markup=False, emoji=False)


def load_victim(
    name: str = "auto",
    *,
    weights: Path | str | None = None,
    device: str = "auto",
    trust: bool = False,
    labels: Path | str | None = None,
    cam_layer: str | None = None,
    threshold: float | None = None,
    say: Callable[[str], None] = _say,
) -> Victim:
    """Load a victim, frozen and in eval mode.

    Args:
        name: a name, file or address in one of the forms that ``physpatch models`` lists, or ``auto``: resnet50 where its
            weights are cached or can be downloaded, else the embedded efficientnet_lite0.
        weights: a weights file for that architecture, instead of the published weights.
        device: ``auto``, ``cpu``, ``cuda``, or one of several such as ``cuda:1``.
        trust: let a file run the code in its pickle: use it only for your own files.
        labels: names of the classes: a file, imagenet or coco; see :func:`physpatch.victims.labels.read_labels`.
        cam_layer: name of the layer for Grad-CAM, instead of the one that is found.
        threshold: the lowest confidence at which its answers count, above 0 and below 1; by default, 0.25 for a detector's
            boxes, and none for a classifier, whose top class always counts.
        say: receives a line that says what ``auto`` chose, what loading the model does, or why it has no gradients.

    Raises:
        InputError: unknown name or unusable file.
        UnavailableError: the weights are missing and cannot be downloaded; the message says what to do.
    """
    place = choose_device(device)  # before weights are downloaded
    adaptation = Adaptation(labels=labels, cam_layer=cam_layer, threshold=threshold)
    options = {
        "weights": None if weights is None else absolute(str(weights)),
        "labels": None if labels is None else labels_file(str(labels)),
        "cam_layer": cam_layer,
    }
    loaded_with = {option: value for option, value in options.items() if value}
    if name == "auto" and weights is None:
        return replace(_load_auto(device, say).adapted(adaptation), loaded_with=loaded_with)
    name = PREFERRED if name == "auto" else name
    path = Path(weights) if weights is not None else None
    if path is not None and not path.is_file():
        raise InputError(f"no weights file {path}")
    family = family_of(name)
    caution = family.caution_for(name)
    if caution:
        say(caution)
    victim = family.load_adapted(name, path, trust, adaptation)
    if victim.remark:
        say(f"model {name}: {victim.remark}")
    victim.module.to(place)
    return replace(victim, loaded_as=model_file(name), loaded_with=loaded_with)


def named_apart(victim: V, others: Collection[str]) -> V:
    """Give a victim a name that none of ``others`` is, as results are kept by name: ``best-2`` beside another ``best``."""
    names = chain([victim.name], (f"{victim.name}-{number}" for number in count(2)))
    name = next(name for name in names if name not in others)
    return victim if name == victim.name else replace(victim, name=name)


def require_known(names: Iterable[str]) -> None:
    """Check that some family knows each name or file, without loading any.

    Raises:
        InputError: none does; the message suggests similar names.
    """
    for name in names:
        if name != "auto":
            family_of(name)


def load_detector(
    name: str,
    *,
    weights: Path | str | None = None,
    device: str = "auto",
    trust: bool = False,
    labels: Path | str | None = None,
    cam_layer: str | None = None,
    threshold: float | None = None,
    say: Callable[[str], None] = _say,
) -> Detector:
    """Load a detector that finds boxes in frames; see :func:`load_victim`.

    Raises:
        InputError: the name is a classifier's, or the detector cannot be loaded.
    """
    victim = load_victim(
        name,
        weights=weights,
        device=device,
        trust=trust,
        labels=labels,
        cam_layer=cam_layer,
        threshold=threshold,
        say=say,
    )
    if not isinstance(victim, Detector):
        raise InputError(
            f"{name} is a classifier; give a detector, such as signs, yolov8n or a FILE.pt or FILE.onnx of ultralytics"
        )
    return victim


def _load_auto(device: str, say: Callable[[str], None]) -> Victim:
    """Load resnet50 where its weights are cached or can be downloaded, else the embedded network; say which."""
    cached = TorchvisionClassifiers().cached(PREFERRED)
    try:
        victim = load_victim(PREFERRED, device=device)
    except UnavailableError:
        say(f"model auto: {EMBEDDED} (embedded), because {PREFERRED}'s weights are not cached and cannot be downloaded")
        return load_victim(EMBEDDED, device=device)
    say(f"model auto: {PREFERRED}, {'cached' if cached else 'downloaded'}")
    return victim


def choose_device(device: str) -> torch.device:
    """Resolve ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        InputError: an unknown device, or cuda where there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, colon, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (colon and not number.isdecimal()):
        raise unknown_name("device", device, ("auto", "cpu", "cuda"))
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError("torch sees no CUDA device; use --device cpu or auto")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise InputError(f"torch sees {torch.cuda.device_count()} CUDA devices, cuda:0 on; there is no {device}")
    return torch.device(device)
