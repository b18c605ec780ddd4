"""Colour: the sRGB transfer function, perceptual colour differences and the print-and-camera colour map.

A :class:`ColourMap` maps the sRGB colour that is sent to the printer to the sRGB colour that the camera sees, with the paper as
white. It is a polynomial of degree one to three, fitted by ridge regression and selected by its error on held-out colours.
``physpatch/transforms/kernels/print_colour.py`` implements the same map in torch.
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


def delta_e00(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute CIEDE2000 between sRGB values (..., 3) in [0, 1], with white (1, 1, 1) under D65."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    return np.asarray(deltaE_ciede2000(rgb2lab(np.clip(first, 0, 1)), rgb2lab(np.clip(second, 0, 1))))


def monomials(degree: int) -> tuple[tuple[int, ...], ...]:
    """List the monomials of the channels 0, 1, 2 up to ``degree`` by their factors, the constant first."""
    return tuple(factors for d in range(degree + 1) for factors in combinations_with_replacement(range(3), d))


@dataclass(frozen=True)
class ColourMap:
    """A map from sent sRGB to seen sRGB, both in [0, 1], with paper white at (1, 1, 1).

    Attributes:
        domain: ``linear`` for a polynomial on linear light, ``coded`` for one on sRGB values.
        degree: of the polynomial, 1 to 3.
        coefficients: one row per monomial of ``monomials(degree)``, one column per channel.
    """

    domain: str
    degree: int
    coefficients: tuple[tuple[float, float, float], ...]

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS or not 1 <= self.degree <= _MOST_DEGREE:
            raise InputError(f"a colour map of degree {self.degree} on {self.domain!r} values is not supported")
        table = np.array(self.coefficients, dtype=np.float64)
        if table.shape != (len(monomials(self.degree)), 3) or not np.isfinite(table).all():
            raise InputError(f"a colour map of degree {self.degree} needs {len(monomials(self.degree))} x 3 numbers")

    def apply(self, srgb: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map sRGB values (..., 3) in [0, 1]."""
        table = np.array(self.coefficients)
        values = polynomial_terms(_into(self.domain, np.asarray(srgb, dtype=np.float64)), self.degree) @ table
        return np.clip(_out_of(self.domain, np.clip(values, 0, 1)), 0, 1)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values."""
        return {"domain": self.domain, "degree": self.degree, "coefficients": [list(row) for row in self.coefficients]}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "ColourMap":
        """Build from the output of :meth:`to_dict`."""
        rows = tuple((float(r), float(g), float(b)) for r, g, b in value["coefficients"])
        return cls(str(value["domain"]), int(value["degree"]), rows)


@dataclass(frozen=True)
class ColourFit:
    """A colour map and its cross-validated error.

    Attributes:
        map: fitted to all colours.
        before: median and 95th percentile of CIEDE2000 between sent and seen colours.
        after: the same between predicted and seen colours, with ten-fold cross-validation.
        candidates: ``after`` for every polynomial that was tried, by name.
    """

    map: ColourMap
    before: tuple[float, float]
    after: tuple[float, float]
    candidates: dict[str, tuple[float, float]]


def fit_colour_map(sent: NDArray[np.floating], seen: NDArray[np.floating], *, seed: int = 0) -> ColourFit:
    """Fit the colour map of a printer and camera.

    Candidates are polynomials of degree 1, 2 and 3 on linear and on coded values, each with several ridge weights. The one with
    the smallest sum of median and 95th percentile of the error wins, in ten-fold cross-validation.

    Args:
        sent: (N, 3) sRGB in [0, 1].
        seen: (N, 3) sRGB in [0, 1], relative to the paper.
        seed: of the folds.

    Raises:
        InputError: if there are too few colours.
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
    """Ridge regression; only products of channels are penalised."""
    inputs = polynomial_terms(_into(domain, sent), degree)
    targets = _into(domain, seen)
    weights = np.array([0.0 if len(factors) <= 1 else ridge for factors in monomials(degree)])
    table = np.linalg.solve(inputs.T @ inputs / len(sent) + np.diag(weights + 1e-12), inputs.T @ targets / len(sent))
    return ColourMap(domain, degree, tuple((float(r), float(g), float(b)) for r, g, b in table))


def polynomial_terms(values: NDArray[np.floating], degree: int) -> NDArray[np.float64]:
    """Compute the monomials of values (..., 3), in the order of :func:`monomials`: (..., M)."""
    return np.stack([np.prod(values[..., list(factors)], axis=-1) for factors in monomials(degree)], axis=-1)


def _into(domain: str, srgb: NDArray[np.floating]) -> NDArray[np.floating]:
    return srgb_to_linear(srgb) if domain == "linear" else srgb


def _out_of(domain: str, values: NDArray[np.floating]) -> NDArray[np.floating]:
    return linear_to_srgb(values) if domain == "linear" else values


def _median_p95(errors: NDArray[np.float64]) -> tuple[float, float]:
    return float(np.median(errors)), float(np.percentile(errors, 95))
