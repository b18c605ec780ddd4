"""Colours: the sRGB transfer curve, differences as people see them, and what print and camera make of a colour.

A :class:`ColourMap` goes from the sRGB that a cell is sent as to the sRGB that a camera sees, with the paper as white. It is a
polynomial of degree one to three, fitted by ridge regression; which one is chosen by its error on colours held out. Its
torch twin is ``physpatch/transforms/kernels/print_colour.py``.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError

DOMAINS = ("linear", "coded")
_MOST_DEGREE = 3
_RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
_FOLDS = 10


def srgb_to_linear(srgb: NDArray[np.floating]) -> NDArray[np.floating]:
    """Decode sRGB values in [0, 1], any shape, to linear light in [0, 1]."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: NDArray[np.floating]) -> NDArray[np.floating]:
    """Encode linear light in [0, 1], any shape, as sRGB in [0, 1]."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


def delta_e00(seen: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """CIEDE2000 between sRGB values (..., 3) in [0, 1], white being (1, 1, 1) under D65."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    return np.asarray(deltaE_ciede2000(rgb2lab(np.clip(seen, 0, 1)), rgb2lab(np.clip(other, 0, 1))))


def monomials(degree: int) -> tuple[tuple[int, ...], ...]:
    """The products of the channels 0, 1, 2 up to ``degree``, constant first: which factors each has."""
    return tuple(f for d in range(degree + 1) for f in combinations_with_replacement(range(3), d))


@dataclass(frozen=True)
class ColourMap:
    """From sent sRGB to seen sRGB, both in [0, 1], the paper's white being (1, 1, 1).

    Attributes:
        domain: ``linear`` where the polynomial acts on linear light, ``coded`` on the sRGB values themselves.
        degree: of the polynomial, 1 to 3.
        coefficients: a row for each of ``monomials(degree)``, a column for each channel.
    """

    domain: str
    degree: int
    coefficients: tuple[tuple[float, float, float], ...]

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS or not 1 <= self.degree <= _MOST_DEGREE:
            raise InputError(f"no colour map of degree {self.degree} on {self.domain!r} values")
        table = np.array(self.coefficients, dtype=np.float64)
        if table.shape != (len(monomials(self.degree)), 3) or not np.isfinite(table).all():
            raise InputError(f"a colour map of degree {self.degree} needs {len(monomials(self.degree))} x 3 numbers")

    def apply(self, srgb: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map sRGB values (..., 3)."""
        table = np.array(self.coefficients)
        values = polynomial_terms(_into(self.domain, np.asarray(srgb, dtype=np.float64)), self.degree) @ table
        return np.clip(_out_of(self.domain, np.clip(values, 0, 1)), 0, 1)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"domain": self.domain, "degree": self.degree, "coefficients": [list(row) for row in self.coefficients]}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "ColourMap":
        """Read :meth:`to_dict`'s output back."""
        rows = tuple((float(r), float(g), float(b)) for r, g, b in value["coefficients"])
        return cls(str(value["domain"]), int(value["degree"]), rows)


@dataclass(frozen=True)
class ColourFit:
    """A colour map and how well it predicts colours that it was not fitted to.

    Attributes:
        map: fitted to all colours.
        before, after: CIEDE2000 median and 95th percentile of sent against seen, and of predicted against seen with each
            colour held out in its turn.
        candidates: the same pair of numbers for every polynomial tried, by name.
    """

    map: ColourMap
    before: tuple[float, float]
    after: tuple[float, float]
    candidates: dict[str, tuple[float, float]]


def fit_colour_map(sent: NDArray[np.floating], seen: NDArray[np.floating], *, seed: int = 0) -> ColourFit:
    """Fit the forward map of a printer and camera.

    Candidates are polynomials of degree 1, 2 and 3 on linear and on coded values with several ridge weights; each colour is
    predicted by a fit that left it out (ten folds), and the candidate with the least sum of median and 95th percentile wins.

    Args:
        sent: (N, 3) sRGB in [0, 1].
        seen: (N, 3) sRGB in [0, 1], relative to the paper.
        seed: of the folds.

    Raises:
        InputError: fewer colours than coefficients.
    """
    if len(sent) < 2 * len(monomials(1)):
        raise InputError(f"{len(sent)} colours are too few to fit a colour map")
    folds = np.random.default_rng(seed).permutation(len(sent)) % _FOLDS
    scores: dict[str, tuple[float, float]] = {}
    best: tuple[float, str, int, float] = (np.inf, "coded", 1, 0.0)
    for domain in DOMAINS:
        for degree in range(1, _MOST_DEGREE + 1):
            if len(monomials(degree)) > 0.6 * len(sent):
                continue
            for ridge in _RIDGES:
                predicted = np.empty_like(seen, dtype=np.float64)
                for fold in range(_FOLDS):
                    out = folds == fold
                    predicted[out] = _fit(sent[~out], seen[~out], domain, degree, ridge).apply(sent[out])
                error = _median_p95(delta_e00(seen, predicted))
                name = f"{domain} values, degree {degree}"
                if sum(error) < sum(scores.get(name, (np.inf, np.inf))):
                    scores[name] = error
                if sum(error) < best[0]:
                    best = (sum(error), domain, degree, ridge)
    _, domain, degree, ridge = best
    return ColourFit(
        _fit(sent, seen, domain, degree, ridge),
        _median_p95(delta_e00(seen, sent)),
        scores[f"{domain} values, degree {degree}"],
        scores,
    )


def _fit(sent: NDArray[np.floating], seen: NDArray[np.floating], domain: str, degree: int, ridge: float) -> ColourMap:
    """Least squares, the products of channels held small by ``ridge``."""
    inputs = polynomial_terms(_into(domain, sent), degree)
    targets = _into(domain, seen)
    weights = np.array([0.0 if len(factors) <= 1 else ridge for factors in monomials(degree)])
    table = np.linalg.solve(inputs.T @ inputs / len(sent) + np.diag(weights + 1e-12), inputs.T @ targets / len(sent))
    return ColourMap(domain, degree, tuple((float(r), float(g), float(b)) for r, g, b in table))


def polynomial_terms(values: NDArray[np.floating], degree: int) -> NDArray[np.float64]:
    """The products named by :func:`monomials`, of values (..., 3): (..., M)."""
    return np.stack([np.prod(values[..., list(f)], axis=-1) for f in monomials(degree)], axis=-1)


def _into(domain: str, srgb: NDArray[np.floating]) -> NDArray[np.floating]:
    return srgb_to_linear(srgb) if domain == "linear" else srgb


def _out_of(domain: str, values: NDArray[np.floating]) -> NDArray[np.floating]:
    return linear_to_srgb(values) if domain == "linear" else values


def _median_p95(errors: NDArray[np.float64]) -> tuple[float, float]:
    return float(np.median(errors)), float(np.percentile(errors, 95))
