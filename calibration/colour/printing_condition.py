"""What presses and papers make of colours: real printing conditions as tables from sRGB to reflected light.

The tables come from public characterisations; ``calibration/colour/data/README.md`` says from which. A printer's own ICC
profile gives a table of the same kind. The torch twin is ``physpatch/transforms/kernels/print_colour.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.colour.colour_space import delta_e00, linear_to_srgb, srgb_to_linear
from calibration.common.errors import InputError, unknown_name
from calibration.common.files import DAMAGED_ZIP

_D50 = np.array([0.9642, 1.0, 0.8249])
LEVELS = 17  # of each channel in a table
D50_XYZ_TO_LINEAR = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)
"""From XYZ under D50, white being 1, to linear sRGB under D65, by Bradford's adaptation."""

INTENTS = ("perceptual", "relative")
IN_GAMUT_DE = 5.0  # CIEDE2000 beyond which a printed colour, against the paper, is another one
_TABLES = Path(__file__).parent / "data/printing-conditions.npz"
ALIASES = {
    "coated": "iso-coated-v2",
    "uncoated": "pso-uncoated",
    "newspaper": "ifra-26-newspaper",
}
"""The condition that stands for a kind of paper."""

PAPERS = {
    "gracol-2006-coated": "coated",
    "gracol-2013-coated": "coated",
    "gracol-2013-uncoated": "uncoated",
    "ifra-26-newspaper": "newspaper",
    "iso-coated-v1": "coated",
    "iso-coated-v2": "coated",
    "iso-uncoated-v1": "uncoated",
    "pso-coated-v3": "coated",
    "pso-uncoated": "uncoated",
    "swop-2006-coated": "coated",
}
"""The kind of paper of each shipped condition."""

HELD_BACK = ("pso-coated-v3", "swop-2006-coated", "pso-uncoated", "ifra-26-newspaper")
"""What training leaves out by default, so that the virtual rig prints as nobody trained for."""


@dataclass(frozen=True, eq=False)
class PrintingCondition:
    """What a printer, its inks and its paper make of sRGB colours.

    Attributes:
        name: of the condition.
        intent: of :data:`INTENTS`: how colours out of its gamut are brought into it.
        table: (17, 17, 17, 3) float32: for the sRGB triplet (i, j, k) / 16, red, green, blue, the reflected light in linear
            sRGB under D65, 1 being a perfect diffuser; paper is 0.5 to 0.95, and bluish paper may pass 1.
    """

    name: str
    intent: str
    table: NDArray[np.float32] = field(repr=False)

    def __post_init__(self) -> None:
        if self.table.shape != (LEVELS, LEVELS, LEVELS, 3) or not np.isfinite(self.table).all():
            raise InputError(f"a printing condition needs a table of {LEVELS} x {LEVELS} x {LEVELS} x 3 finite numbers")
        if self.white.min() <= 0:
            raise InputError(f"the paper of printing condition {self.name!r} reflects no light")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PrintingCondition):
            return NotImplemented
        same_name = (self.name, self.intent) == (other.name, other.intent)
        return same_name and (self.table is other.table or np.array_equal(self.table, other.table))

    def __hash__(self) -> int:
        return hash((self.name, self.intent))

    @property
    def white(self) -> NDArray[np.float32]:
        """Return the bare paper's reflectance, (3,)."""
        paper: NDArray[np.float32] = self.table[-1, -1, -1]
        return paper

    @property
    def black(self) -> NDArray[np.float32]:
        """Return the reflectance of the darkest print, (3,)."""
        ink: NDArray[np.float32] = self.table[0, 0, 0]
        return ink

    def reflectance(self, srgb: NDArray[np.floating]) -> NDArray[np.float64]:
        """Look up what sRGB values (..., 3) in [0, 1] reflect: (..., 3) linear light, trilinearly interpolated."""
        from scipy.ndimage import map_coordinates

        values = np.asarray(srgb, dtype=np.float64)
        at = np.clip(values.reshape(-1, 3).T, 0, 1) * (LEVELS - 1)
        channels = [map_coordinates(self.table[..., i], at, order=1, output=np.float64) for i in range(3)]
        return np.clip(np.stack(channels, axis=-1), 0, None).reshape(values.shape)

    def soft_proof(self, srgb: NDArray[np.floating], *, relative: bool = True) -> NDArray[np.float64]:
        """Show sRGB values (..., 3) in [0, 1] as they are printed: sRGB in [0, 1].

        With ``relative`` the paper is white, as to an eye that has grown used to it; without it as bright as it is.
        """
        light = self.reflectance(srgb)
        return np.clip(linear_to_srgb(np.clip(light / self.white if relative else light, 0, 1)), 0, 1)

    def shift(self, srgb: NDArray[np.floating]) -> NDArray[np.float64]:
        """Measure how far printing moves sRGB values (..., 3), against the paper: CIEDE2000 (...)."""
        return delta_e00(self.soft_proof(srgb), np.asarray(srgb, dtype=np.float64))

    def blended(self, other: "PrintingCondition", share: float) -> "PrintingCondition":
        """Go ``share`` of the way to another condition; beyond 1 past it."""
        table = ((1 - share) * self.table + share * other.table).clip(0, None)
        return PrintingCondition(f"{self.name}+{share:g} {other.name}", self.intent, table.astype(np.float32))

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON: by name where it is shipped, else with its table."""
        if is_shipped(self):
            return {"condition": self.name, "intent": self.intent}
        return {
            "condition": self.name,
            "intent": self.intent,
            "table": [round(float(value), 5) for value in self.table.ravel()],
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "PrintingCondition":
        """Read the output of :meth:`to_dict`.

        Raises:
            InputError: a condition that is not shipped here, or a table of another size.
        """
        name, intent = str(value["condition"]), str(value["intent"])
        if "table" not in value:
            return load_condition(name, intent)
        numbers = np.asarray(value["table"], dtype=np.float32)
        if numbers.size != LEVELS**3 * 3:
            raise InputError(f"the table of printing condition {name} has {numbers.size} numbers, not {LEVELS**3 * 3}")
        return cls(name, intent, numbers.reshape(LEVELS, LEVELS, LEVELS, 3))

    @classmethod
    def identity(cls, white: float = 1.0, black: float = 0.0) -> "PrintingCondition":
        """Return the print that reflects every colour as it was sent, between the reflectances of its paper and its ink."""
        return cls("identity", "relative", (black + (white - black) * srgb_to_linear(lattice())).astype(np.float32))

    @classmethod
    def load_npz(cls, path: Path) -> "PrintingCondition":
        """Read ``CONDITION-INTENT.npz``, which holds ``linear_srgb`` (17, 17, 17, 3).

        Raises:
            InputError: no such file, or another one.
        """
        name, _, intent = path.stem.rpartition("-")
        try:
            with np.load(path, allow_pickle=False) as arrays:
                table = arrays["linear_srgb"].astype(np.float32)
        except FileNotFoundError as error:
            raise InputError(f"no file {path}") from error
        except (OSError, KeyError, *DAMAGED_ZIP) as error:
            raise InputError(f"{path} is no table of a printing condition ({error})") from error
        return cls(name or path.stem, intent if name else INTENTS[0], table)

    @classmethod
    def from_icc(cls, path: Path, intent: str = "perceptual") -> "PrintingCondition":
        """Make the table of a printer's ICC profile, CMYK or RGB, with Little CMS.

        Colours go from sRGB to the device by ``intent``, with black point compensation for ``relative``, and from there to
        Lab by the absolute colorimetric intent, so that the paper keeps its colour.

        Raises:
            InputError: no ICC profile, or not one of a printer.
        """
        from PIL import Image, ImageCms

        try:
            profile = ImageCms.getOpenProfile(str(path))
            space, kind = profile.profile.xcolor_space.strip(), profile.profile.device_class.strip()
        except (OSError, UnicodeDecodeError, ImageCms.PyCMSError) as error:
            raise InputError(f"{path} is no ICC profile that can be read ({error})") from error
        if kind != "prtr" or space not in ("CMYK", "RGB"):
            raise InputError(
                f"{path} is an ICC profile of class {kind!r} and space {space!r}; expected a printer's (prtr)"
            )
        intents = {"perceptual": ImageCms.Intent.PERCEPTUAL, "relative": ImageCms.Intent.RELATIVE_COLORIMETRIC}
        if intent not in intents:
            raise unknown_name("rendering intent", intent, intents)
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION if intent == "relative" else ImageCms.Flags.NONE
        sent = Image.fromarray((lattice().reshape(1, -1, 3) * 255).round().astype(np.uint8))
        try:
            to_device = ImageCms.buildTransform(
                ImageCms.createProfile("sRGB"), profile, "RGB", space, intents[intent], flags
            )
            to_lab = ImageCms.buildTransform(
                profile, ImageCms.createProfile("LAB"), space, "LAB", ImageCms.Intent.ABSOLUTE_COLORIMETRIC
            )
            lab = to_lab.apply(to_device.apply(sent))
        except ImageCms.PyCMSError as error:
            raise InputError(f"{path}: Little CMS cannot use this profile ({error})") from error
        return cls(path.stem, intent, _lab_to_linear(np.asarray(lab)).reshape(LEVELS, LEVELS, LEVELS, 3))


def lattice() -> NDArray[np.float64]:
    """Return the sRGB values of a table's entries, (17, 17, 17, 3) in [0, 1]."""
    levels = np.linspace(0, 1, LEVELS)
    return np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)


def condition_names() -> tuple[str, ...]:
    """Return the names of the conditions that are shipped."""
    return tuple(sorted({name for name, _ in _shipped()}))


def load_condition(name: str, intent: str | None = None) -> PrintingCondition:
    """Load a shipped condition by its name or by its kind of paper, see :data:`ALIASES`.

    Without an intent it is perceptual, or relative where that is the only one.

    Raises:
        InputError: no such condition or intent.
    """
    full = ALIASES.get(name, name)
    if full not in condition_names():
        raise unknown_name("printing condition", name, (*ALIASES, *condition_names()))
    intents = [candidate for candidate in INTENTS if (full, candidate) in _shipped()]
    if intent is not None and intent not in intents:
        raise unknown_name(f"rendering intent of {full}", intent, intents)
    return _shipped()[full, intent or intents[0]]


def training_conditions() -> tuple[PrintingCondition, ...]:
    """Return the shipped conditions that training draws from by default, with every intent."""
    return tuple(condition for (name, _), condition in _shipped().items() if name not in HELD_BACK)


def held_back_conditions() -> tuple[PrintingCondition, ...]:
    """Return the shipped conditions that training leaves out by default, with every intent."""
    return tuple(condition for (name, _), condition in _shipped().items() if name in HELD_BACK)


def nearest_condition(sent: NDArray[np.floating], seen: NDArray[np.floating]) -> tuple[PrintingCondition, float]:
    """Find the shipped condition whose print, against its paper, is most like what was measured.

    Args:
        sent: (N, 3) sRGB in [0, 1], as it was printed.
        seen: (N, 3) sRGB in [0, 1], the paper being white.

    Returns:
        The condition, and the median CIEDE2000 to it.
    """
    distances = {
        condition: float(np.median(delta_e00(condition.soft_proof(sent), seen))) for condition in _shipped().values()
    }
    return min(distances.items(), key=lambda item: item[1])


def is_shipped(condition: PrintingCondition) -> bool:
    """Return whether this very table is shipped under its name."""
    return _shipped().get((condition.name, condition.intent)) == condition


@cache
def _shipped() -> dict[tuple[str, str], PrintingCondition]:
    with np.load(_TABLES, allow_pickle=False) as arrays:
        tables = {key: arrays[key].astype(np.float32) for key in arrays.files}
    conditions = {}
    for key in sorted(tables):
        name, _, intent = key.rpartition("-")
        conditions[name, intent] = PrintingCondition(name, intent, tables[key])
    return conditions


def _lab_to_linear(lab: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn 8-bit Lab under D50, as Pillow stores it, into linear sRGB under D65."""
    lightness = lab[..., 0].astype(np.float64) * 100 / 255
    a, b = (lab[..., i].view(np.int8).astype(np.float64) for i in (1, 2))
    y = (lightness + 16) / 116
    steps = np.stack([y + a / 500, y, y - b / 200], axis=-1)  # skimage's lab2xyz warns of colours that no light has
    xyz = np.where(steps > 6 / 29, steps**3, (steps - 4 / 29) * 3 * (6 / 29) ** 2) * _D50
    return (xyz @ D50_XYZ_TO_LINEAR.T).astype(np.float32)
