"""State dicts from files, without ever running what a pickle might carry."""

from pathlib import Path
from typing import Any

import torch

from calibration.errors import InputError


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """A state dict from .safetensors or .pth, also where it lies under ``state_dict`` in a checkpoint.

    Raises:
        InputError: missing, damaged, carrying more than tensors, or no state dict.
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"no weights file {file}") from error
    except Exception as error:  # torch, pickle and safetensors each raise their own
        raise InputError(f"{file} is not a plain file of weights ({str(error).splitlines()[0]})") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError(f"{file} holds no state dict; save one with torch.save(model.state_dict(), FILE)")
    return state
