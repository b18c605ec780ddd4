"""Conversion between the patch file's integers and the cells that are learned."""

import numpy as np
import torch
from torch import Tensor

from physpatch.records.patch_file import Patch


def cells_from_patch(patch: Patch, device: torch.device | str = "cpu") -> Tensor:
    """Convert a patch to cells (3, rows, columns), float32 sRGB in [0, 1]."""
    return torch.from_numpy(patch.cells).to(device).permute(2, 0, 1).float() / 255


def printable_cells(cells: Tensor) -> np.ndarray:
    """Round cells (3, rows, columns) in [0, 1] to (rows, columns, 3) uint8 sRGB, as sent to a printer."""
    return (cells.detach().cpu().permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
