"""Spectra of lights and cameras, from colour-science's data sets, and the matrices that lead from them to linear sRGB.

Every spectrum is sampled from 380 to 780 nm in steps of 5 nm.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import UnavailableError, unknown_name

FIRST_NM, LAST_NM, STEP_NM = 380, 780, 5
_CHECKER = "BabelColor Average"  # the 24 measured colours of a ColorChecker
_STANDARD = "D65"  # under which sRGB values are what they are


@cache
def illuminant(name: str) -> NDArray[np.float64]:
    """Return the relative spectral power of an illuminant, (81,), 1 at most: ``A``, ``D65``, ``FL2``, ``LED-B3`` and others.

    Raises:
        InputError: no illuminant of that name.
        UnavailableError: colour-science is not installed.
    """
    power = _named("illuminant", name, _colour().SDS_ILLUMINANTS)
    return power / power.max()


@cache
def sensitivities(name: str) -> NDArray[np.float64]:
    """Return the spectral sensitivities of a camera's red, green and blue pixels, (81, 3), 1 at most.

    Raises:
        InputError: no camera of that name.
        UnavailableError: colour-science is not installed.
    """
    return _named("camera", name, _colour().MSDS_CAMERA_SENSITIVITIES).clip(0, None)


def white(camera: str, light: str) -> NDArray[np.float64]:
    """Compute what a camera's pixels record of a perfect diffuser under a light, (3,), up to a factor."""
    recorded: NDArray[np.float64] = illuminant(light) @ sensitivities(camera)
    return recorded


@cache
def recorded_from_linear(camera: str, light: str) -> NDArray[np.float64]:
    """Fit the matrix (3, 3) from linear sRGB under D65 to a camera's records under a light, 1 for a perfect diffuser.

    It is the least-squares fit to the measured reflectances of a ColorChecker, as no matrix is exact for all of them.
    """
    reflected, linear = _checker()
    recorded = (reflected * illuminant(light)) @ sensitivities(camera) / white(camera, light)
    return np.asarray(np.linalg.lstsq(linear, recorded, rcond=None)[0].T, dtype=np.float64)


@cache
def linear_from_recorded(camera: str, light: str) -> NDArray[np.float64]:
    """Fit the matrix (3, 3) from a camera's records, white-balanced under a light, to linear sRGB; white stays white.

    This is the matrix that a camera's maker stores for a light.
    """
    reflected, linear = _checker()
    recorded = (reflected * illuminant(light)) @ sensitivities(camera) / white(camera, light)
    # Rows that add up to 1 keep white: fit two columns to what the third leaves.
    rows = [
        np.linalg.lstsq(recorded[:, :2] - recorded[:, 2:], linear[:, i] - recorded[:, 2], rcond=None)[0]
        for i in range(3)
    ]
    return np.array([[a, b, 1 - a - b] for a, b in rows])


@cache
def _checker() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the reflectances (24, 81) of a ColorChecker and their linear sRGB under D65 (24, 3), 1 for a perfect diffuser."""
    colour = _colour()
    reflected = np.array([_sampled(sd) for sd in colour.SDS_COLOURCHECKERS[_CHECKER].values()])
    observer = _sampled(colour.MSDS_CMFS["CIE 1931 2 Degree Standard Observer"])
    weighted = illuminant(_STANDARD)[:, None] * observer
    xyz = reflected @ weighted / weighted[:, 1].sum()
    to_linear = np.asarray(colour.RGB_COLOURSPACES["sRGB"].matrix_XYZ_to_RGB)
    linear = xyz @ to_linear.T
    return reflected, linear / (weighted.sum(axis=0) / weighted[:, 1].sum() @ to_linear.T)


def _named(kind: str, name: str, spectra: Mapping[str, Any]) -> NDArray[np.float64]:
    if name not in spectra:
        raise unknown_name(kind, name, spectra)
    return _sampled(spectra[name])


def _sampled(spectrum: Any) -> NDArray[np.float64]:
    shape = _colour().SpectralShape(FIRST_NM, LAST_NM, STEP_NM)
    return np.nan_to_num(np.asarray(spectrum.copy().align(shape).values, dtype=np.float64))


def _colour() -> Any:
    try:
        import colour
    except ImportError as error:
        raise UnavailableError(
            "rendered scenes need colour-science; install with: pip install 'physpatch[render]'"
        ) from error
    return colour
