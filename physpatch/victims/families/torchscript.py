"""TorchScript, ``FILE.torchscript`` or a ``FILE.pt`` that is TorchScript inside. It has gradients, but no layer for heat."""

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from calibration.common.errors import InputError
from calibration.common.files import file_sha256
from physpatch.victims.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Adaptation, Preprocessing
from physpatch.victims.protocol import BareFamily, CatalogueEntry, Victim, WeightsInfo, wrapped
from physpatch.victims.weights import TRUST_CURE

_SUFFIX = ".torchscript"
_USUAL_SIZE = 224  # TorchScript does not record its input
# TorchScript runs no Python, but some of its operators read and write files, and others come from libraries.
_OF_FILES = re.compile(r"\b(?:torch|ops\.aten)\.(?:save|load|from_file)\b")
_LIBRARY = re.compile(r"\bops\.(?!aten\.|prim\.|prims\.|quantized\.|torchvision\.)\w+")


class TorchScript(BareFamily):
    """Programs saved by ``torch.jit.save``."""

    name: ClassVar[str] = "torchscript"
    summary: ClassVar[str] = "TorchScript, FILE.torchscript or FILE.pt"

    def catalogue(self) -> list[CatalogueEntry]:
        source = "the file itself, by torch.jit.save; also FILE.pt"
        return [CatalogueEntry(f"FILE{_SUFFIX}", "classify", source, True, heat=False)]

    def knows(self, name: str) -> bool:
        return name.endswith(_SUFFIX) or (name.endswith(".pt") and _is_torchscript(Path(name)))

    def load_adapted(self, name: str, weights: Path | None, trust: bool, said: Adaptation) -> Victim:
        file = Path(name)
        if weights is not None:
            raise InputError(f"{name} holds its own weights; leave out --weights")
        if not file.is_file():
            raise InputError(f"no model file {name}")
        try:
            if not trust:
                _refuse_file_access(file)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the format is old, not wrong
                network = _Program(torch.jit.load(file, map_location="cpu"))
        except InputError:
            raise
        except Exception as error:  # torch raises RuntimeError and those of its reader
            words = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(f"{file} is no TorchScript that can be read ({words[:160]})") from error
        side = said.size or _USUAL_SIZE
        usual = Preprocessing(side, side, IMAGENET_MEAN, IMAGENET_STD)
        return wrapped(network, file.stem, WeightsInfo(str(file), file_sha256(file)), said, usual)


class _Program(nn.Module):
    """TorchScript as a module whose parameters can be frozen, which torch does not offer for TorchScript itself."""

    def __init__(self, program: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.program = program

    def forward(self, images: Tensor) -> Any:
        return self.program(images)


def _is_torchscript(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _refuse_file_access(file: Path) -> None:
    """Refuse a program whose code reads or writes files, or calls a library's operators.

    Raises:
        InputError: such a program.
    """
    archive = torch._C.PyTorchFileReader(str(file))
    for name in archive.get_all_records():
        if name.endswith(".py"):
            code = archive.get_record(name).decode("utf-8", "replace")
            found = _OF_FILES.search(code) or _LIBRARY.search(code)
            if found:
                raise InputError(f"{file} calls {found.group()}, which may reach files; {TRUST_CURE}")
