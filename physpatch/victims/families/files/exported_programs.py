"""Programs of ``torch.export``, ``FILE.pt2``. What could run code is refused before torch reads the file."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from calibration.common.errors import InputError
from physpatch.victims.families.base import FileFamily, FoundNetwork
from physpatch.victims.protocol import CatalogueEntry
from physpatch.victims.weights import TRUST_CURE, torch_words

SUFFIX = ".pt2"
# What torch looks up by name and calls, or evaluates, when it reads a program.
_OPERATORS = re.compile(r"torch\.ops\.(aten|torchvision|prims?)\.\w+(\.\w+)?|_operator\.\w+|math\.\w+|torch\.sym_\w+")
_OF_FILES = re.compile(r"torch\.ops\.aten\.(from_file|save|load)\b")
_SYMBOL = r"Symbol\('(z?u?[sf]|u)\d+'(, (positive|integer|nonnegative|real)=(True|False))*\)|(z?u?[sf]|u)\d+"
_EXPRESSION = re.compile(
    rf"({_SYMBOL}|\d+(\.\d+)?|Max|Min|FloorDiv|CleanDiv|CeilDiv|Mod|PythonMod|True|False|[-+*/(),<>=&|~ ])*"
)
_IMPORTING = ("__enum__", "default_factory_module", "\\u")  # in the description of a program's arguments
_OTHER_FORMATS = ("aotinductor", "executorch", "mtia")  # compiled code


class ExportedPrograms(FileFamily):
    """Programs saved by ``torch.export.save``."""

    name: ClassVar[str] = "torch-export"
    summary: ClassVar[str] = "a program of torch.export, FILE.pt2"

    def catalogue(self) -> list[CatalogueEntry]:
        return [CatalogueEntry(f"FILE{SUFFIX}", "either", "the file itself, by torch.export.save", True)]

    def knows(self, name: str) -> bool:
        return name.lower().endswith(SUFFIX)

    def read(self, file: Path, trust: bool, side: int | None = None) -> FoundNetwork:
        try:
            if not trust:
                _refuse_code(file)
            with open(
                file, "rb"
            ) as stream:  # by its name, torch would log a warning unless the suffix is in lower case
                program = torch.export.load(stream)
            batch, most, size = _input_of(program, file)
            network: nn.Module = torch.export.unflatten(program)
        except InputError:
            raise
        except Exception as error:  # torch raises its own, those of its reader, and of what it reads
            raise InputError(f"{file} is no program of torch.export that can be read ({torch_words(error)})") from error
        return FoundNetwork(network, size, batch, most)


def _input_of(program: torch.export.ExportedProgram, file: Path) -> tuple[int | None, int | None, int | None]:
    """Read the batch that a program accepts, or the most of it, and the side of the image; None for any.

    Raises:
        InputError: it takes something else than one batch of square images (B, 3, S, S).
    """
    names = program.graph_signature.user_inputs
    shapes = [tuple(node.meta["val"].shape) for node in program.graph.nodes if node.name in names]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] != 3 or str(shapes[0][2]) != str(shapes[0][3]):
        got = ", ".join(f"({', '.join(map(str, shape))})" for shape in shapes) or "none"
        raise InputError(f"{file}: expected one input, a batch of images (B, 3, S, S), got {got}")
    batch, _, side, _ = shapes[0]
    fixed = batch if isinstance(batch, int) else None
    return fixed, None if fixed else _most(program, batch), (side if isinstance(side, int) else None)


def _most(program: torch.export.ExportedProgram, length: torch.SymInt) -> int | None:
    """Read how many images a program takes at most, which torch checks whenever it runs; None for any number."""
    bounds = program.range_constraints.get(length.node.expr)
    return int(bounds.upper) if bounds is not None and bounds.upper.is_Integer else None


def _refuse_code(file: Path) -> None:
    """Refuse whatever makes ``torch.export.load`` unpickle, import, evaluate or call what the file names.

    Raises:
        InputError: the file holds such a thing.
    """
    archive = torch._C.PyTorchFileReader(str(file))  # as torch itself reads it; another reader might see other files
    for name in archive.get_all_records():
        reason = _code_in(name, archive.get_record(name))
        if reason:
            raise InputError(f"{file} could run code: {reason}; {TRUST_CURE}")
    # Where torch's reader finds no program, or fails, torch reads the file again as its former format, by another reader,
    # which may see other files in the same bytes. That format's tensors are pickles.
    with zipfile.ZipFile(file) as again:
        if "version" in again.namelist():
            raise InputError(f"{file} could run code: it has the format before PyTorch 2.8, of pickles; {TRUST_CURE}")


def _code_in(name: str, content: bytes) -> str | None:
    if any(f"data/{kind}/" in name for kind in _OTHER_FORMATS):
        return f"{name} is compiled"
    if name.startswith("data/sample_inputs/"):
        try:
            torch.load(io.BytesIO(content), weights_only=True)
        except Exception:  # torch's advice is to load it nevertheless
            return f"{name} is a pickle of more than tensors"
        return None
    if name.startswith(("data/weights/", "data/constants/")):
        if name.endswith(".json"):
            entries = json.loads(content)["config"].values()
            plain = all(e["path_name"].startswith(("weight_", "tensor_")) and not e["use_pickle"] for e in entries)
            return None if plain else f"{name} has pickles among the weights"
        return f"{name} is a pickle" if name.endswith(".pt") else None
    return _code_in_program(content) if name.startswith("models/") else None


def _code_in_program(content: bytes) -> str | None:
    text = content.decode("utf-8")
    program = json.loads(text)
    for key, value in _strings(program):
        if key in ("target", "as_operator") and (not _OPERATORS.fullmatch(value) or _OF_FILES.match(value)):
            return f"it calls {value[:60]}"
        if key == "expr_str" and not _EXPRESSION.fullmatch(value):
            return f"it evaluates {value[:60]!r}"
    graph = program["graph_module"]
    specifications = json.dumps([graph.get("module_call_graph"), graph.get("treespec_namedtuple_fields")])
    importing_words = [word for word in _IMPORTING if word in specifications]
    return f"its arguments name {importing_words[0]}" if importing_words else None


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield all strings in a JSON value, each with the key under which it is."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _strings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, key)
    elif isinstance(value, str):
        yield key, value
