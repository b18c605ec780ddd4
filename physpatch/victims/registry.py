"""Victims by name or file. A family is a module of ``families``, or comes from an entry point ``physpatch.victims``."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from rich.console import Console

from calibration.common.errors import InputError, UnavailableError, unknown_name
from calibration.common.registry import Registry
from physpatch.victims.detector import Detector
from physpatch.victims.families.torchvision_classifiers import TorchvisionClassifiers
from physpatch.victims.protocol import CatalogueEntry, Victim, VictimFamily

FAMILIES = Registry("family of victims", VictimFamily, "physpatch.victims.families", "physpatch.victims")
PREFERRED, EMBEDDED = "resnet50", "efficientnet_lite0"


def _say(line: str) -> None:
    Console(stderr=True).print(line)


def load_victim(
    name: str = "auto",
    *,
    weights: Path | str | None = None,
    device: str = "auto",
    trust: bool = False,
    say: Callable[[str], None] = _say,
) -> Victim:
    """Load a victim, frozen and in eval mode.

    Args:
        name: a name from ``physpatch models``, any torchvision classifier, an ultralytics detector, a detector's FILE.pt,
            or ``auto``: resnet50 where its weights are cached or can be downloaded, else the embedded efficientnet_lite0.
        weights: a weights file for that architecture, instead of the published weights.
        device: ``auto``, ``cpu``, ``cuda``, or one of several such as ``cuda:1``.
        trust: let a file run the code in its pickle: use it only for your own files.
        say: receives one line that says what ``auto`` chose.

    Raises:
        InputError: unknown name or unusable file.
        UnavailableError: the weights are missing and cannot be downloaded; the message says what to do.
    """
    if name == "auto" and weights is None:
        return _load_auto(device, say)
    name = PREFERRED if name == "auto" else name
    path = Path(weights) if weights is not None else None
    if path is not None and not path.is_file():
        raise InputError(f"no weights file {path}")
    victim = _family(name).load(name, path, trust)
    victim.module.to(choose_device(device))
    return victim


def require_known(names: Iterable[str]) -> None:
    """Check that some family knows each name or file, without loading any.

    Raises:
        InputError: none does; the message suggests similar names.
    """
    for name in names:
        if name != "auto":
            _family(name)


def _family(name: str) -> VictimFamily:
    family = next((family for family in _families() if family.knows(name)), None)
    if family is None:
        raise unknown_name("model", name, all_names())
    return family


def load_detector(name: str, *, device: str = "auto", trust: bool = False) -> Detector:
    """Load a detector that finds boxes in frames.

    Raises:
        InputError: the name is a classifier's, or the detector cannot be loaded.
    """
    victim = load_victim(name, device=device, trust=trust)
    if not isinstance(victim, Detector):
        raise InputError(f"{name} is a classifier; give a detector, such as signs, yolov8n or a FILE.pt of ultralytics")
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
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise unknown_name("device", device, ("auto", "cpu", "cuda"))
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError("torch sees no CUDA device; use --device cpu or auto")
    return torch.device(device)


def _families() -> Iterator[VictimFamily]:
    return (family() for family in FAMILIES.values())


def catalogue() -> list[CatalogueEntry]:
    """List the rows of ``physpatch models``."""
    return [entry for family in _families() for entry in family.catalogue()]


def all_names() -> list[str]:
    """List every name that can be given, for suggestions."""
    from torchvision import models

    return [entry.name for entry in catalogue()] + models.list_models(module=models)
