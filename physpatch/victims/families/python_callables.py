"""``package.module:function``: a function of the user's that returns a network or a victim. Its code is run."""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from calibration.common.errors import InputError
from physpatch.victims.families.base import FoundNetwork
from physpatch.victims.families.open_clip_models import PREFIX as CLIP
from physpatch.victims.families.timm_classifiers import PREFIX as TIMM
from physpatch.victims.own_code import in_one_line
from physpatch.victims.preprocessing import Adaptation
from physpatch.victims.protocol import BareFamily, CatalogueEntry, Victim, WeightsInfo
from physpatch.victims.weights import state_sha256

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class PythonCallables(BareFamily):
    """Functions without arguments, in an installed package or in a module of the working folder."""

    name: ClassVar[str] = "python"
    summary: ClassVar[str] = "your own function package.module:function that returns an nn.Module or a Victim"
    caution: ClassVar[str] = "model {name}: runs your own code"

    def catalogue(self) -> list[CatalogueEntry]:
        return [CatalogueEntry("PACKAGE.MODULE:FUNCTION", "either", "your own code, which is run", True)]

    def knows(self, name: str) -> bool:
        return _NAME.fullmatch(name) is not None and not name.startswith((TIMM, CLIP))

    def load_adapted(self, name: str, weights: Path | None, trust: bool, said: Adaptation) -> Victim:
        if weights is not None:
            raise InputError(f"{name} loads its own weights; leave out --weights")
        result = _call(*name.split(":"))
        if isinstance(result, Victim):
            _try(result, name)
            return replace(result, name=name).adapted(said)
        if not isinstance(result, nn.Module):
            raise InputError(f"{name} returned {type(result).__name__}; expected an nn.Module or a physpatch Victim")
        info = WeightsInfo(f"made by {name}", state_sha256(result.state_dict()))
        return FoundNetwork(result.cpu()).victim(name, info, said)  # where it is tried, wherever the function put it


@torch.no_grad()
def _try(victim: Victim, name: str) -> None:
    """Show a victim a batch of two random images.

    Raises:
        InputError: its code fails on them, or it does not answer with a score per class.
    """
    size, classes = victim.preprocessing.size, len(victim.categories)
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(victim.device)
    with in_one_line(f"{name} made a victim that fails on images (B, 3, {size}, {size})"):
        scores = victim.scores(images)
    form = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
    if form != (2, classes):
        raise InputError(
            f"{name} made a victim that scores two images as {form}; expected (2, {classes}), by its categories"
        )


def _call(module: str, function: str) -> Any:
    """Import a module of the user's and call its function.

    Raises:
        InputError: there is no such module or function, or its code raises anything; the message says where.
    """
    with _working_folder_importable():
        make = getattr(_imported(module), function, None)
        if not callable(make):
            raise InputError(f"{module} has no function {function}")
        with in_one_line(f"{module}:{function} failed"):
            return make()


def _imported(module: str) -> Any:
    with in_one_line(f"{module} cannot be imported"):
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if module == missing or module.startswith(f"{missing}."):
                raise InputError(f"{module} cannot be imported ({error}); install it, or run in its folder") from error
            raise


@contextmanager
def _working_folder_importable() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
