"""State dicts from files. Code in a pickle runs only where the user trusts the file."""

import hashlib
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from calibration.common.errors import InputError, first_line
from calibration.common.text import shortened

_LONGEST_REASON = 160  # characters
TRUST_CURE = "if it contains code and you trust its author, add --trust-weights"


def fill_network(network: nn.Module, state: Mapping[str, torch.Tensor], file: Path, what: str) -> None:
    """Load a state dict, read from ``file``, into a network; ``what`` names the network.

    Raises:
        InputError: it is that of another network.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{file} does not hold weights for {what}: {unfitting(error)}") from error


def unfitting(error: Exception) -> str:
    """Say in short why a state dict does not fit, from what torch says in several lines: the keys that it misses first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return shortened(" ".join(lines[1:2]) or lines[0], _LONGEST_REASON)


def why_unreadable(error: Exception, trust: bool) -> str:
    """Say why a file of weights cannot be read, in words that follow its name, instead of a library's own."""
    if not trust and isinstance(error, pickle.UnpicklingError):
        return f"is not a plain weights file: it holds more than tensors, or is damaged; {TRUST_CURE}"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return "is not a plain weights file: it is damaged, or of another kind; download or save it again"


def torch_words(error: Exception) -> str:
    """Return what torch's reader of archives says, without its advice to those who build torch."""
    return first_line(error).partition(". This is an internal")[0]


def read_state(file: Path, trust: bool = False) -> dict[str, torch.Tensor]:
    """Read a state dict from .safetensors or .pth, or from under ``state_dict`` in a checkpoint.

    ``trust`` lets a pickle run its code: use it only for your own files.

    Raises:
        InputError: the file is missing or damaged, contains more than tensors, or holds no state dict.
    """
    try:
        if file.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=not trust)
    except FileNotFoundError as error:
        raise InputError(f"no weights file {file}") from error
    except (
        Exception
    ) as error:  # torch, pickle and safetensors each raise their own, with advice that is not for our users
        raise InputError(f"{file} {why_unreadable(error, trust)}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError(f"{file} holds no state dict; save one with torch.save(model.state_dict(), FILE)")
    return state


def state_sha256(state: Mapping[str, Any]) -> str:
    """Compute the SHA-256, in hexadecimal, of a state dict's names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        for part in _contents(name, value):
            digest.update(part)
    return digest.hexdigest()


def _contents(name: str, value: Any) -> Iterator[bytes]:
    """Yield what an entry of a state dict holds, which is more than tensors where a module keeps a state of its own."""
    if isinstance(value, torch.Tensor):
        yield f"{name} {value.dtype} {tuple(value.shape)}\n".encode()
        plain = value.detach().dequantize() if value.is_quantized else value.detach()
        yield plain.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from _contents(f"{name}.{number}", part)
    else:
        yield f"{name} {value!r}\n".encode()
