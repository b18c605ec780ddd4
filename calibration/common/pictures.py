"""Read pictures, with one limit of their size and one way to tell a damaged one, for files and for what clients send."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from calibration.common.errors import InputError

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})
MOST_PIXELS = 120_000_000  # above the 108 megapixels of phones; 360 MB in memory
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF")  # not EPS, which Pillow has another program run
_QUARTER_TURNS = (5, 6, 7, 8)  # values of EXIF's orientation that exchange width and height


def is_picture(path: Path) -> bool:
    """Tell by its name whether a path is a picture; a folder is none."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.is_dir()


def check_size(width: int, height: int) -> None:
    """Check that a picture is not too large to be handled.

    Raises:
        InputError: if it has more than :data:`MOST_PIXELS`.
    """
    if width * height > MOST_PIXELS:
        raise InputError(f"{width}x{height} pixels; expected at most {MOST_PIXELS / 1e6:.0f} megapixels")


def open_picture(path: Path) -> Image.Image:
    """Open a picture as 8-bit RGB, rotated as its EXIF data say.

    Raises:
        InputError: if the file is missing, damaged, cut off or too large.
    """
    _refuse_pipe(path)
    try:
        with open(path, "rb") as file:
            return decoded(file)
    except FileNotFoundError as error:
        raise InputError(f"no image {path}") from error
    except InputError as error:
        raise InputError(f"broken image {path} ({error}); remove or replace it") from error
    except OSError as error:
        raise InputError(f"cannot read the image {path} ({error.strerror}); remove or replace it") from error


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture, (H, W, 3) RGB uint8, in sRGB where it embeds another RGB profile; see :func:`open_picture`."""
    return np.array(_in_srgb(open_picture(path)))


def decode_picture(data: bytes, formats: Sequence[str], sides_px: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode a picture, (H, W, 3) RGB uint8, after checking the size in its header.

    Args:
        data: of a stranger.
        formats: accepted, by Pillow's names.
        sides_px: least and largest side.

    Raises:
        InputError: if it is not a whole picture of such a format and size.
    """
    return np.array(decoded(io.BytesIO(data), formats, sides_px))


def decoded(
    file: BinaryIO,
    formats: Sequence[str] = _FORMATS,
    sides_px: tuple[int, int] = (1, MOST_PIXELS),
    *,
    mode: Literal["RGB", "RGBA"] = "RGB",
) -> Image.Image:
    """Decode a picture, rotated as its EXIF data say; for the other arguments see :func:`decode_picture`.

    Raises:
        InputError: if it is not a whole picture of such a format and size.
    """
    with _in_words(formats), _opened(file, formats) as opened:
        least, most = sides_px
        if not all(least <= side <= most for side in opened.size):
            raise InputError(f"{opened.width}x{opened.height} pixels; expected {least} to {most} per side")
        check_size(*opened.size)
        return _eight_bit(ImageOps.exif_transpose(opened)).convert(mode)


def picture_size(path: Path) -> tuple[int, int]:
    """Read a picture's width and height from its header, rotated as its EXIF data say.

    Raises:
        InputError: if the file is missing, does not begin like a picture, or is too large.
    """
    _refuse_pipe(path)
    try:
        with open(path, "rb") as file, _in_words(_FORMATS), _opened(file, _FORMATS) as opened:
            check_size(*opened.size)
            turned = opened.getexif().get(ExifTags.Base.Orientation, 1) in _QUARTER_TURNS
            return (opened.height, opened.width) if turned else opened.size
    except InputError as error:
        raise InputError(f"broken image {path} ({error}); remove or replace it") from error
    except OSError as error:
        raise InputError(f"cannot read the image {path} ({error.strerror}); remove or replace it") from error


def _refuse_pipe(path: Path) -> None:
    """Refuse what would wait for a writer when it is opened."""
    if path.is_fifo():
        raise InputError(f"broken image {path} (it is a pipe, not a file); remove or replace it")


def picture_format(data: bytes) -> str:
    """Name the format of a picture by Pillow's name, such as JPEG, after checking the size in its header.

    Raises:
        InputError: if it does not begin like a picture, or is too large.
    """
    with _in_words(_FORMATS), _opened(io.BytesIO(data), _FORMATS) as opened:
        check_size(*opened.size)
        return str(opened.format)


def _opened(file: BinaryIO, formats: Sequence[str]) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is another
        return Image.open(file, formats=list(formats))


@contextmanager
def _in_words(formats: Sequence[str]) -> Iterator[None]:
    """Turn what decoders raise in the block into one kind of error."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"it has too many pixels; expected at most {MOST_PIXELS / 1e6:.0f} megapixels") from error
    except UnidentifiedImageError as error:
        raise InputError(f"it is not a {formats[0] if len(formats) == 1 else 'known kind of'} picture") from error
    except Exception as error:  # decoders raise many kinds for damaged files, also from within their tables of tags
        raise InputError(f"it is damaged or cut off: {error}") from error


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow would clip what is brighter than 255 of 65535
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "I":  # grey levels of 16 bits in some formats, of 32 in others
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 65535:
            raise InputError("its pixels are integers of an unknown range; save it with 8 bits")
        return Image.fromarray((levels >> 8 if levels.max() > 255 else levels).astype(np.uint8))
    if image.mode == "F":
        raise InputError("its pixels are floating-point numbers of an unknown range; save it with 8 bits")
    return image


def _in_srgb(image: Image.Image) -> Image.Image:
    """Convert RGB of an embedded profile, as Display P3 of phones, to sRGB; a broken profile, or one of greys, is ignored."""
    embedded = image.info.get("icc_profile")
    if not embedded:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
        if "srgb" in ImageCms.getProfileDescription(profile).lower():  # a conversion would only add rounding errors
            return image
        intent, srgb = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, profile, srgb, intent) or image
    except (ImageCms.PyCMSError, OSError):
        return image


def pixels_inside(outline_px: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Mark the pixels (H, W) whose centre lies within an outline (N, 2) of x and y, with centres at whole numbers."""
    from skimage.draw import polygon2mask

    return polygon2mask(shape, outline_px[:, ::-1]) if len(outline_px) else np.zeros(shape, dtype=bool)
