"""TorchScript, ``FILE.torchscript`` or a ``FILE.pt`` that is TorchScript inside. It has gradients, but no layer for heat."""

import json
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from calibration.common.errors import InputError
from calibration.common.files import DAMAGED_ZIP
from physpatch.victims.families.base import FileFamily, FoundNetwork
from physpatch.victims.families.files.export_notes import ExportNotes
from physpatch.victims.protocol import CatalogueEntry
from physpatch.victims.weights import TRUST_CURE, torch_words

_SUFFIX = ".torchscript"
_NOTES = "config.txt"  # of ultralytics, as JSON
# TorchScript runs no Python, but some of its operators read and write files, and others come from libraries.
_OF_FILES = re.compile(r"\b(?:torch|ops\.aten)\.(?:save|load|from_file)\b")
_LIBRARY = re.compile(r"\bops\.(?!aten\.|prim\.|prims\.|quantized\.|torchvision\.)\w+")


class TorchScript(FileFamily):
    """Programs saved by ``torch.jit.save``."""

    name: ClassVar[str] = "torchscript"
    summary: ClassVar[str] = "TorchScript, FILE.torchscript or FILE.pt"

    def catalogue(self) -> list[CatalogueEntry]:
        source = "the file itself, by torch.jit.save; also FILE.pt"
        return [CatalogueEntry(f"FILE{_SUFFIX}", "either", source, True, heat=False)]

    def knows(self, name: str) -> bool:
        return name.lower().endswith(_SUFFIX) or (name.lower().endswith(".pt") and _is_torchscript(Path(name)))

    def read(self, file: Path, trust: bool, side: int | None = None) -> FoundNetwork:
        beside = {_NOTES: ""}
        try:
            if not trust:
                _refuse_file_access(file)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the format is old, not wrong
                program = torch.jit.load(file, map_location="cpu", _extra_files=beside)
        except InputError:
            raise
        except Exception as error:  # torch raises RuntimeError and those of its reader
            raise InputError(f"{file} is no TorchScript that can be read ({torch_words(error)})") from error
        notes = ExportNotes.of(_parsed(beside[_NOTES]), file)  # TorchScript itself does not record its input
        return FoundNetwork(
            _Program(program, file),
            notes.size,
            notes.batch,
            usual_size=notes.usual_size,
            categories=notes.categories,
            plain=notes.plain,
        )


class _Program(nn.Module):
    """TorchScript as a module whose parameters can be frozen, which torch does not offer for TorchScript itself."""

    def __init__(self, program: torch.jit.ScriptModule, file: Path) -> None:
        super().__init__()
        self.program = program
        forward: Any = getattr(program, "forward", None)  # a program may have other methods only
        arguments = [] if forward is None else forward.schema.arguments[1:]  # after the program itself
        if not arguments:
            raise InputError(f"{file} has no method forward that takes images; script or trace the network itself")
        self._takes_a_list = str(arguments[0].type) == "List[Tensor]"  # as torchvision's detectors do

    def forward(self, images: Tensor) -> Any:
        return self.program([*images] if self._takes_a_list else images)


def _parsed(notes: bytes | str) -> dict[str, Any]:
    """Read the notes, which are no obstacle where they are something else."""
    try:
        value = json.loads(notes)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_torchscript(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except DAMAGED_ZIP:
        return False


def _refuse_file_access(file: Path) -> None:
    """Refuse a program whose code reads or writes files, or calls a library's operators.

    Raises:
        InputError: such a program.
    """
    archive = torch._C.PyTorchFileReader(str(file))
    for name in archive.get_all_records():
        if name.endswith(".py"):
            code = archive.get_record(name).decode("utf-8", "replace")
            match = _OF_FILES.search(code) or _LIBRARY.search(code)
            if match:
                raise InputError(f"{file} calls {match.group()}, which may reach files; {TRUST_CURE}")
