"""Patches as others have them: pictures, NumPy arrays, tensors and drawn signs, read into cells and written from them."""

import io
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calibration.colour.colour_space import LINEAR_LEVELS, linear_to_srgb
from calibration.common.errors import InputError, first_line
from calibration.common.files import atomic_path
from calibration.common.pictures import MOST_PIXELS, PICTURE_SUFFIXES, check_size, decoded
from calibration.common.units import MM_PER_INCH
from calibration.sheet.road_signs import sign
from physpatch.records.patch_file import MAX_CELLS, Patch

TENSORS = frozenset({".pt", ".pth", ".safetensors"})
ARRAYS = frozenset({".npy", ".npz"})
_BEHIND = 128  # grey that shows through where a picture is transparent, and where a mask covers nothing
_LEAST_OPAQUE = 250
_SIGN_PX = 400
_STICKER = 0.7  # of a sign's side, which a sticker shows: without the border, whose shape the sign below it lacks
_ROUNDED_ONE = 1.01  # the largest float of a patch from 0 to 1, with what rounding adds
_LEAST_OF_255 = 2.0  # the smallest maximum of floats from 0 to 255


def read_pixels(path: Path) -> tuple[NDArray[np.uint8], str]:
    """Read a patch as (H, W, 3) sRGB, from a picture, ``.npy``, ``.npz``, or a file with one tensor; no pickles are run.

    Arrays may be (H, W, 3) or (3, H, W), alone in a batch, as integers to 255 or as floats to 1 or 255. An ``.npz`` holds one
    array, or one called ``patch``, with or without a ``patch_mask`` like it, as :func:`write_art` writes them.

    Returns:
        The pixels, and in words how they were read, for the record.

    Raises:
        InputError: no such file, or one that holds no patch.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"no picture {path}")
    if suffix in ARRAYS:
        return _from_arrays(_arrays(path), path)
    if suffix in TENSORS:
        return _from_array(_tensor(path), path)
    if suffix not in PICTURE_SUFFIXES:
        known_suffixes = ", ".join(sorted({*PICTURE_SUFFIXES, *TENSORS, *ARRAYS}))
        raise InputError(f"{path} is no picture, array or tensor; expected one of {known_suffixes}")
    return _from_picture(path)


def _from_picture(path: Path) -> tuple[NDArray[np.uint8], str]:
    try:
        with open(path, "rb") as file:
            picture = decoded(file, mode="RGBA")
    except (InputError, OSError) as error:
        raise InputError(f"broken picture {path} ({error})") from error
    opaque = Image.new("RGBA", picture.size, (_BEHIND, _BEHIND, _BEHIND, 255))
    clear = float((np.asarray(picture)[..., 3] < _LEAST_OPAQUE).mean())
    words = f"{picture.width} x {picture.height} pixels"
    if clear == 1:
        raise InputError(f"{path} is no patch: all of it is transparent")
    if clear:
        words += f", of which {100 * clear:.0f} % are transparent and grey here"
    return np.asarray(Image.alpha_composite(opaque, picture).convert("RGB")), words


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the array of a ``.npy`` file, called patch, or those of an ``.npz`` by their names."""
    names = ("patch", "patch_mask")
    try:
        with open(path, "rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {"patch": content}
            if path.suffix.lower() == ".npz":
                only = content.files[0] if len(content.files) == 1 else None
                _check_members(content.zip, path)
                return {name: content[only or name] for name in names if only or name in content.files}
    except InputError:
        raise
    except Exception as error:  # for damaged headers, NumPy raises what Python's tokeniser and zip raise
        raise InputError(f"{path} is no array of numbers that can be read ({first_line(error)})") from error
    raise InputError(f"{path} holds several arrays; save the patch alone with numpy.save")


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Check that the arrays of an archive are not too large to be unpacked."""
    most = MOST_PIXELS * 3 * 4
    if sum(member.file_size for member in archive.infolist()) > most:
        raise InputError(f"{path} unpacks to more than {most / 1e9:.1f} GB")


def _from_arrays(arrays: dict[str, NDArray[Any]], path: Path) -> tuple[NDArray[np.uint8], str]:
    if "patch" not in arrays:
        raise InputError(f"{path} holds no patch; expected one array, or one called patch")
    pixels, words = _from_array(arrays["patch"], path)
    if (mask := arrays.get("patch_mask")) is None:
        return pixels, words
    if mask.shape != arrays["patch"].shape or mask.dtype.kind not in "bfiu":
        raise InputError(f"{path}: patch_mask is {mask.shape} {mask.dtype}, which does not fit patch; remove it")
    covers = _channels_last(mask).min(axis=2) > 0
    if not covers.any():
        raise InputError(f"{path} is no patch: patch_mask covers nothing")
    pixels[~covers] = _BEHIND
    clear = 100 * (1 - float(covers.mean()))
    return pixels, words + (f", of which {clear:.0f} % are outside of patch_mask and grey here" if clear else "")


def _tensor(path: Path) -> NDArray[Any]:
    """Read the only tensor of a file; pickles of more than tensors are refused."""
    import torch

    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, pickle and safetensors each raise their own
        raise InputError(
            f"{path} holds no plain tensor: it is damaged, or holds more than tensors; save one with torch.save(tensor, FILE)"
        ) from error
    if isinstance(content, dict):
        content = next(iter(content.values())) if len(content) == 1 else content.get("patch")
    if not isinstance(content, torch.Tensor):
        raise InputError(f"{path} holds no patch; expected one tensor, or one called patch")
    if content.numel() > 3 * MOST_PIXELS:  # a view of few values can claim any number of them
        raise InputError(
            f"{path} claims {content.numel():.3g} numbers; expected at most {MOST_PIXELS / 1e6:.0f} megapixels"
        )
    try:
        dense = content.detach().resolve_conj().resolve_neg()
        return np.asarray((dense.float() if dense.is_floating_point() else dense).numpy())
    except (RuntimeError, TypeError, NotImplementedError) as error:  # sparse, quantised, or without values
        raise InputError(f"{path} holds no dense tensor ({first_line(error)}); save tensor.to_dense()") from error


def _from_array(array: NDArray[Any], path: Path) -> tuple[NDArray[np.uint8], str]:
    shape = array.shape
    array = _channels_last(array)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind not in "fiu" or not array.size:
        raise InputError(f"{path} is no patch: expected (H, W, 3) or (3, H, W) numbers, got {shape} {array.dtype}")
    try:
        check_size(array.shape[1], array.shape[0])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    least, most = float(array.min()), float(array.max())
    if not (np.isfinite([least, most]).all() and least >= 0 and most <= 255):
        raise InputError(
            f"{path} is no patch: its values reach from {least:.4g} to {most:.4g}; expected 0 to 1, or 0 to 255"
        )
    if array.dtype.kind != "f" and most == 1:  # black, as 0 to 255, but surely not meant so
        raise InputError(f"{path}: its whole numbers reach from 0 to 1; expected 0 to 255, or floats from 0 to 1")
    unit = array.dtype.kind == "f" and most <= _ROUNDED_ONE
    if array.dtype.kind == "f" and _ROUNDED_ONE < most < _LEAST_OF_255:
        raise InputError(f"{path}: its largest value is {most:.4g}, which fits neither 0 to 1 nor 0 to 255; scale it")
    pixels = np.round(array.astype(np.float64).clip(0, 1 if unit else 255) * (255 if unit else 1)).astype(np.uint8)
    return np.ascontiguousarray(pixels), f"an array {shape} of {array.dtype}, read as 0 to {1 if unit else 255}"


def _channels_last(array: NDArray[Any]) -> NDArray[Any]:
    """View (3, H, W), and a batch of one, as (H, W, 3); anything else stays what it is."""
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[2] != 3 and array.shape[0] == 3:
        array = array.transpose(1, 2, 0)
    return array


def to_cells(pixels: NDArray[np.uint8], grid: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Turn pixels (H, W, 3) into cells (rows, columns, 3); a cell is the mean of its pixels in linear light.

    ``grid`` None makes a cell of each pixel.

    Raises:
        InputError: more pixels than a patch can have cells.
    """
    rows, columns = grid or pixels.shape[:2]
    if max(rows, columns) > MAX_CELLS:
        raise InputError(
            f"{columns} x {rows} pixels are more than a patch's {MAX_CELLS} cells a side; give --grid RxC, such as --grid 50x50"
        )
    if (rows, columns) == pixels.shape[:2]:
        return pixels.copy()
    shrinks = rows <= pixels.shape[0] and columns <= pixels.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    light = cv2.resize(LINEAR_LEVELS[pixels].astype(np.float32), (columns, rows), interpolation=how)
    return (linear_to_srgb(light.clip(0, 1)) * 255).round().astype(np.uint8)


def drawing(name: str, grid: tuple[int, int]) -> Patch:
    """Draw the middle of a sign in the cells of a patch: the null of a sign that a patch has taken for another one.

    A detector that is shown a sticker of another sign may well call the sign by that name. Where a patch does no more than such
    a drawing, its training has found the drawing, and nothing that the detector should not see.

    Args:
        name: of a sign in ``calibration.sheet.road_signs.SIGNS``.
        grid: rows and columns of the patch.

    Raises:
        InputError: no such sign.
    """
    drawn = sign(name)
    edge = round((1 - _STICKER) / 2 * _SIGN_PX)
    middle = np.ascontiguousarray(drawn.draw(_SIGN_PX)[edge:-edge, edge:-edge, :3])
    return Patch(to_cells(middle, grid), None, {"control": "drawing", "sign": drawn.name})


def enlarged(patch: Patch, width_px: int) -> NDArray[np.uint8]:
    """Draw a patch's flat cells (H, W, 3) at a width in pixels, with square cells where they divide it evenly.

    Raises:
        InputError: more pixels than a picture may have, or fewer than the patch has cells.
    """
    rows, columns = patch.grid
    height_px = max(1, round(width_px * rows / columns))
    check_size(width_px, height_px)
    if width_px < columns or height_px < rows:
        raise InputError(
            f"{width_px} x {height_px} pixels cannot show {columns} x {rows} cells; expected {columns} pixels across or more"
        )
    down, across = (
        ((np.arange(pixels) + 0.5) * cells / pixels).astype(int)
        for pixels, cells in ((height_px, rows), (width_px, columns))
    )
    return patch.cells[np.ix_(down, across)]


def write_png(patch: Patch, path: Path, width_mm: float, dpi: float, *, circle: bool = False) -> tuple[int, int]:
    """Write a PNG with alpha at a print size; outside of a ``circle`` it is transparent.

    Returns:
        Its width and height in pixels.
    """
    pixels = enlarged(patch, max(1, round(width_mm / MM_PER_INCH * dpi)))
    height, width = pixels.shape[:2]
    alpha = np.full((height, width), 255, np.uint8)
    if circle:
        alpha[~_inside_circle(height, width)] = 0
    with atomic_path(path) as temporary:
        Image.fromarray(np.dstack([pixels, alpha])).save(temporary, format="png", dpi=(dpi, dpi))
    return width, height


def write_art(patch: Patch, path: Path, width_px: int, *, circle: bool = False) -> tuple[int, ...]:
    """Write ``patch`` and ``patch_mask`` as ART's ``AdversarialPatchPyTorch`` has them, (3, H, W) float32 in [0, 1], as npz.

    The mask is 1 where the patch is, which for one cut out as a ``circle`` is inside of it.

    Returns:
        The shape of both.
    """
    array = _channels_first(patch, width_px)
    mask = np.ones_like(array)
    if circle:
        mask *= _inside_circle(*array.shape[1:])
    stream = io.BytesIO()
    np.savez_compressed(stream, patch=array, patch_mask=mask)
    with atomic_path(path) as temporary:
        temporary.write_bytes(stream.getvalue())
    return array.shape


def write_tensor(patch: Patch, path: Path, width_px: int) -> tuple[int, ...]:
    """Write a tensor (1, 3, H, W) float32 in [0, 1], as torchattacks has its images; it loads with ``weights_only``."""
    import torch

    array = _channels_first(patch, width_px)[None]
    with atomic_path(path) as temporary:
        torch.save(torch.from_numpy(array), temporary)
    return array.shape


def _inside_circle(height: int, width: int) -> NDArray[np.bool_]:
    """Tell which pixels (H, W) have their centre inside the circle of the shorter side in the middle of a picture."""
    y, x = (np.arange(side) + 0.5 - side / 2 for side in (height, width))
    return np.hypot(y[:, None], x[None]) <= min(height, width) / 2


def _channels_first(patch: Patch, width_px: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(enlarged(patch, width_px).transpose(2, 0, 1), np.float32) / np.float32(255)
