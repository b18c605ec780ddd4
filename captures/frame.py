"""One frame of a session, whatever it came from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """An (H, W, 3) RGB uint8 picture at ``time_s`` seconds from the start.

    ``condition``, ``clip`` and ``label`` (the class truly shown) are set where the source knows them: the virtual rig
    does, a camera does not.
    """

    image: NDArray[np.uint8]
    time_s: float
    condition: str | None = None
    clip: int | None = None
    label: str | None = None
