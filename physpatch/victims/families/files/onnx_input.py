"""The images that an ONNX model takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.common.errors import InputError
from calibration.common.text import cleaned
from physpatch.victims.preprocessing import LARGEST_SIZE

_TYPES: dict[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(frozen=True)
class OnnxInput:
    """The one input of a model.

    Attributes:
        name: of the input.
        kind: of its numbers, float32 or float16.
        size: side of the images in pixels; None for any.
        batch: the images at once; None for any number.
        channels_last: (B, S, S, 3) instead of (B, 3, S, S).
        single: one image (3, S, S) without a batch, as torchvision exports its detectors.
    """

    name: str
    kind: type[np.floating[Any]]
    size: int | None
    batch: int | None
    channels_last: bool
    single: bool

    @classmethod
    def of(cls, session: Any, file: Path) -> "OnnxInput":
        """Read the input of a session of ONNX Runtime.

        Raises:
            InputError: it takes something else than one batch of square images of floats.
        """
        inputs = session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(i.name for i in inputs) or "none"
            raise InputError(
                f"{file}: expected one input, a batch of images, got {len(inputs)} ({cleaned(names)[:80]})"
            )
        single = len(inputs[0].shape) == 3
        shape = (1, *inputs[0].shape) if single else tuple(inputs[0].shape)
        kind = _TYPES.get(inputs[0].type)
        channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
        sides = shape[1:3] if channels_last else shape[2:4]
        fixed = {side for side in sides if isinstance(side, int)}
        if kind is None or len(shape) != 4 or 3 not in (shape[1], shape[3]) or len(fixed) > 1:
            raise InputError(
                f"{file}: expected one batch of images of floats, (B, 3, S, S) or (B, S, S, 3), got "
                f"{inputs[0].type} {inputs[0].shape}"
            )
        if not all(1 <= length <= LARGEST_SIZE for length in shape if isinstance(length, int)):
            raise InputError(
                f"{file}: expected lengths from 1 to {LARGEST_SIZE}, or names for those that may be any, got {inputs[0].shape}"
            )
        batch = shape[0] if isinstance(shape[0], int) else None
        return cls(inputs[0].name, kind, next(iter(fixed), None), batch, channels_last, single)
