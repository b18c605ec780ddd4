"""State dicts from files. Code in a pickle runs only where the user trusts the file."""

import pickle
from pathlib import Path
from typing import Any

import torch

from calibration.common.errors import InputError

TRUST_CURE = "if it contains code and you trust its author, add --trust-weights"


def why_unreadable(error: Exception, trust: bool) -> str:
    """Say why a file of weights cannot be read, in words that follow its name, instead of a library's own."""
    if not trust and isinstance(error, pickle.UnpicklingError):
        return f"is not a plain weights file: it holds more than tensors, or is damaged; {TRUST_CURE}"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return "is not a plain weights file: it is damaged, or of another kind; download or save it again"


def read_state(file: Path, trust: bool = False) -> dict[str, torch.Tensor]:
    """Read a state dict from .safetensors or .pth, or from under ``state_dict`` in a checkpoint.

    ``trust`` lets a pickle run its code: use it only for your own files.

    Raises:
        InputError: the file is missing or damaged, contains more than tensors, or holds no state dict.
    """
    try:
        if file.suffix == ".safetensors":
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
