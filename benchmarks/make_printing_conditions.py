"""Make the tables of real printing conditions that the package carries.

    python benchmarks/make_printing_conditions.py DIR --out calibration/colour/data/printing-conditions.npz

DIR holds ``CONDITION-INTENT.npz`` files with ``linear_srgb`` (17, 17, 17, 3). Newspaper is made from IFRA26S, Ifra's published
characterisation of coldset offset on standard newsprint (ISO 12647-3, 2004): its solids, overprints and tone ramps give a Yule–
Nielsen modified Neugebauer model (Yule and Nielsen 1951; Neugebauer 1937), which is inverted colour by colour. Printed are its
differences to patches of that characterisation which it was not made from.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from one_line import run_main
from scipy.optimize import minimize
from skimage.color import deltaE_ciede2000, xyz2lab

from calibration.colour.colour_space import srgb_to_linear
from calibration.colour.printing_condition import D50_XYZ_TO_LINEAR, LEVELS, PrintingCondition, lattice
from calibration.common.files import atomic_path

_NAMES = {
    "GRACoL2006coated_310": "gracol-2006-coated",
    "GRACoL2013coated_320": "gracol-2013-coated",
    "GRACoL2013uncoated_280": "gracol-2013-uncoated",
    "ISOcoated_v1_300": "iso-coated-v1",
    "ISOcoated_v2_300": "iso-coated-v2",
    "ISOuncoated_v1_300": "iso-uncoated-v1",
    "PSOcoated_v3_300": "pso-coated-v3",
    "PSOuncoated_ISO12647_300": "pso-uncoated",
    "SWOP2006coated_300": "swop-2006-coated",
}
_D50 = np.array([96.42, 100.0, 82.49])
# IFRA26S: XYZ (D50, 2 degrees) of the solids and overprints, by their inks.
_PRIMARIES = {
    "": (64.42, 66.4, 50.04),
    "C": (20.79, 27.15, 39.6),
    "M": (34.74, 23.42, 19.0),
    "Y": (54.74, 57.34, 11.8),
    "CM": (13.36, 12.77, 19.37),
    "CY": (15.39, 22.8, 11.85),
    "MY": (31.88, 21.81, 8.66),
    "CMY": (11.09, 11.49, 9.37),
    "K": (9.25, 9.41, 6.67),
    "CK": (7.25, 8.09, 7.71),
    "MK": (9.13, 7.98, 5.85),
    "YK": (10.76, 11.15, 5.57),
    "CMK": (7.05, 7.01, 6.94),
    "CYK": (7.72, 9.2, 6.19),
    "MYK": (10.18, 8.81, 5.26),
    "CMYK": (6.8, 7.04, 5.68),
}
# The channel of XYZ in which an ink is dark, and its value there by tone, of IFRA26S's ramps.
_TONES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
_RAMPS = {
    "C": (0, (64.42, 55.71, 48.14, 41.75, 36.47, 32.33, 28.83, 26.04, 23.89, 22.21, 20.79)),
    "M": (1, (66.4, 57.39, 49.54, 43.32, 38.03, 33.83, 30.43, 27.82, 25.91, 24.57, 23.42)),
    "Y": (2, (50.04, 42.02, 34.99, 29.36, 24.67, 20.98, 18.02, 15.74, 14.05, 12.83, 11.8)),
    "K": (1, (66.4, 54.28, 43.94, 35.58, 28.57, 23.01, 18.5, 15.41, 12.88, 11.01, 9.41)),
}
# Patches that the model is not made from: CMYK in percent, and XYZ.
_CHECKS = (
    ((70, 70, 0, 0), (17.19, 16.13, 22.2)),
    ((0, 70, 70, 0), (34.61, 25.63, 10.71)),
    ((40, 40, 40, 0), (24.04, 23.83, 17.05)),
    ((20, 0, 20, 0), (45.05, 49.99, 33.31)),
    ((40, 100, 40, 0), (19.36, 15.88, 12.87)),
    ((0, 40, 100, 0), (39.64, 33.52, 10.0)),
    ((100, 40, 0, 0), (16.33, 17.95, 27.05)),
    ((70, 20, 100, 0), (17.82, 22.05, 11.2)),
    ((20, 70, 40, 0), (27.07, 21.83, 14.3)),
    ((70, 20, 20, 0), (20.81, 24.36, 25.12)),
    ((60, 45, 45, 20), (14.42, 15.08, 11.89)),
    ((40, 27, 27, 40), (14.63, 15.21, 11.7)),
    ((0, 100, 0, 20), (24.25, 17.37, 13.86)),
    ((40, 0, 40, 40), (16.22, 18.77, 11.88)),
    ((20, 12, 12, 0), (41.66, 43.23, 33.8)),
    ((100, 0, 40, 0), (17.28, 24.48, 21.08)),
)


class Neugebauer:
    """Predicts XYZ from tone values of cyan, magenta, yellow and black."""

    def __init__(self, yule_nielsen: float) -> None:
        self.yule_nielsen = yule_nielsen
        self._primaries = np.array(list(_PRIMARIES.values())) ** (1 / yule_nielsen)
        self._inks = [[ink in name for ink in "CMYK"] for name in _PRIMARIES]
        self._coverage = {ink: self._effective(*ramp) for ink, ramp in _RAMPS.items()}

    def _effective(self, _channel: int, values: tuple[float, ...]) -> NDArray[np.float64]:
        powers = np.array(values) ** (1 / self.yule_nielsen)
        return (powers[0] - powers) / (powers[0] - powers[-1])

    def xyz(self, tones: NDArray[np.float64]) -> NDArray[np.float64]:
        """Predict XYZ (..., 3), 100 being white, of tone values (..., 4) in [0, 100]."""
        cover = np.stack(
            [np.interp(tones[..., i], _TONES, self._coverage[ink]) for i, ink in enumerate("CMYK")], axis=-1
        )
        shares = [
            np.prod([cover[..., i] if has_ink else 1 - cover[..., i] for i, has_ink in enumerate(inks)], axis=0)
            for inks in self._inks
        ]
        return (np.stack(shares, axis=-1) @ self._primaries) ** self.yule_nielsen

    def differences(self) -> NDArray[np.float64]:
        """Compare with the patches that were kept apart: CIEDE2000."""
        tones, xyz = (np.array(side, dtype=np.float64) for side in zip(*_CHECKS, strict=True))
        return np.asarray(deltaE_ciede2000(_lab(self.xyz(tones)), _lab(xyz)))


def _lab(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(xyz2lab(xyz / 100, illuminant="D50"))


def newspaper() -> tuple[NDArray[np.float32], dict[str, float]]:
    """Make the table of newsprint, and tell how well its model predicts."""
    factors = np.arange(1.0, 4.1, 0.1)
    model = min((Neugebauer(float(n)) for n in factors), key=lambda candidate: float(candidate.differences().mean()))
    differences = model.differences()
    white, black = np.array(_PRIMARIES[""]), np.array(_PRIMARIES["CMYK"])
    steps = np.linspace(0, 100, 21)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    coarse = _lab(model.xyz(_with_black(grid)))
    sent = srgb_to_linear(lattice()).reshape(-1, 3) @ np.linalg.inv(D50_XYZ_TO_LINEAR).T / (_D50 / 100)
    targets = _lab(black + (white - black) * sent)
    printed = []
    for lab in targets:
        start = grid[np.argmin(((coarse - lab) ** 2).sum(axis=1))]

        def miss(cmy: NDArray[np.float64], lab: NDArray[np.float64] = lab) -> float:
            return float(((_lab(model.xyz(_with_black(np.clip(cmy, 0, 100)))) - lab) ** 2).sum())

        best = minimize(miss, start, method="Nelder-Mead", options={"xatol": 0.05, "fatol": 1e-3, "maxiter": 200})
        printed.append(model.xyz(_with_black(np.clip(best.x, 0, 100))))
    linear = np.array(printed) / 100 @ D50_XYZ_TO_LINEAR.T
    table = linear.reshape(LEVELS, LEVELS, LEVELS, 3).astype(np.float32)
    # The factor was fitted to these.
    quality = {"mean_de00": float(differences.mean()), "max_de00": float(differences.max())}
    return table, {"yule_nielsen": round(model.yule_nielsen, 2)} | quality


def _with_black(cmy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add black where all three inks are strong, as a separation does."""
    return np.concatenate([cmy, np.clip(2 * (cmy.min(axis=-1, keepdims=True) - 50), 0, 100)], axis=-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tables = {}
    files = sorted(options.directory.glob("*.npz"))
    if not files:
        parser.error(f"{options.directory} has no CONDITION-INTENT.npz")
    for path in files:
        condition = PrintingCondition.load_npz(path)
        tables[f"{_NAMES.get(condition.name, condition.name)}-{condition.intent}"] = condition.table
    tables["ifra-26-newspaper-relative"], fit = newspaper()
    with atomic_path(options.out) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, **{name: table.astype(np.float16) for name, table in tables.items()})
    json.dump({"tables": sorted(tables), "bytes": options.out.stat().st_size, "newspaper": fit}, sys.stdout)


if __name__ == "__main__":
    run_main(main)
