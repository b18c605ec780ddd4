"""The print-and-camera colour map, fitted to what a camera saw of a print.

A :class:`ColourMap` maps the sRGB colour that is sent to the printer to the sRGB colour that the camera sees, with the paper as
white. It is a polynomial of degree one to three, on the colours sent or on those of a known printing condition, fitted by ridge
regression, or a matrix with a tone curve, as phones develop; the error on held-out colours selects one.
``physpatch/transforms/kernels/print_colour.py`` implements the same map in torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.colour.colour_space import delta_e00, linear_to_srgb, srgb_to_linear
from calibration.colour.printing_condition import PrintingCondition, training_conditions
from calibration.colour.tone_mapping import TERMS, fit_toned, toned
from calibration.common.errors import InputError

TONED = "toned"
_POLYNOMIALS = ("linear", "coded")
DOMAINS = (*_POLYNOMIALS, TONED)
_MOST_DEGREE = 3
_MOST_DEGREE_ON_PRINT = 2  # a press's table has the curvature already
_BASES_TRIED = 3  # the nearest printing conditions
_RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
_LEAST_TONED = 16  # colours
_TONED_RIDGE = 6.0  # of the change of saturation
_FOLDS = 10


def monomials(degree: int) -> tuple[tuple[int, ...], ...]:
    """List the monomials of the channels 0, 1, 2 up to ``degree`` by their factors, the constant first."""
    return tuple(factors for d in range(degree + 1) for factors in combinations_with_replacement(range(3), d))


@dataclass(frozen=True)
class ColourMap:
    """A map from sent sRGB to seen sRGB, both in [0, 1], with paper white at (1, 1, 1).

    Attributes:
        domain: ``linear`` for a polynomial on linear light, ``coded`` for one on sRGB values, ``toned`` for the terms of
            ``calibration.colour.tone_mapping`` on linear light and a tone curve after them.
        degree: of the polynomial, 1 to 3; 1 for ``toned``.
        coefficients: one row per monomial of ``monomials(degree)`` or per term, one column per channel.
        base: a printing condition like the printer's: the polynomial is on the light that it reflects, relative to its paper.
            None for a polynomial on the colours sent.
        curve: the two coefficients of a toned map's curve; see ``tone_mapping.bent``.
    """

    domain: str
    degree: int
    coefficients: tuple[tuple[float, float, float], ...]
    base: PrintingCondition | None = None
    curve: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        is_toned = self.domain == TONED
        if self.domain not in DOMAINS or not 1 <= self.degree <= (1 if is_toned else _MOST_DEGREE):
            raise InputError(f"a colour map of degree {self.degree} on {self.domain!r} values is not supported")
        if self.base is not None and self.domain != "linear":
            raise InputError("a colour map on a printing condition is a polynomial on linear light")
        table = np.array(self.coefficients, dtype=np.float64)
        rows = TERMS if is_toned else len(monomials(self.degree))
        if table.shape != (rows, 3) or not np.isfinite(table).all():
            raise InputError(f"a colour map of degree {self.degree} on {self.domain} values needs {rows} x 3 numbers")
        if len(self.curve) != 2 or not np.abs(self.curve).sum() <= 1 or (not is_toned and any(self.curve)):
            raise InputError(f"a colour map on {self.domain} values cannot have the tone curve {self.curve}")

    def apply(self, srgb: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map sRGB values (..., 3) in [0, 1]."""
        table = np.array(self.coefficients)
        if self.domain == TONED:
            return toned(srgb_to_linear(np.asarray(srgb, dtype=np.float64)), table, self.curve)
        inputs = _inputs(np.asarray(srgb, dtype=np.float64), self.domain, self.base)
        values = polynomial_terms(inputs, self.degree) @ table
        return np.clip(_out_of(self.domain, np.clip(values, 0, 1)), 0, 1)

    @property
    def kind(self) -> str:
        """Return what the map is, for tables."""
        return "tone curve" if self.domain == TONED else f"{self.domain}, degree {self.degree}"

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values."""
        value: dict[str, Any] = {"domain": self.domain, "degree": self.degree}
        value["coefficients"] = [list(row) for row in self.coefficients]
        if self.domain == TONED:
            value["curve"] = list(self.curve)
        return value if self.base is None else value | {"base": self.base.to_dict()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "ColourMap":
        """Build from the output of :meth:`to_dict`."""
        rows = tuple((float(r), float(g), float(b)) for r, g, b in value["coefficients"])
        base = None if value.get("base") is None else PrintingCondition.from_dict(value["base"])
        first, second = value.get("curve", (0.0, 0.0))
        return cls(str(value["domain"]), int(value["degree"]), rows, base, (float(first), float(second)))


Print = ColourMap | PrintingCondition
"""What turns the colours of cells into those of a print: measured by a camera, or a printing condition."""


def print_from_dict(value: Mapping[str, Any]) -> Print:
    """Read the output of either kind's ``to_dict``.

    Raises:
        InputError: neither kind.
    """
    return PrintingCondition.from_dict(value) if "condition" in value else ColourMap.from_dict(value)


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

    Candidates are polynomials of degree 1, 2 and 3 on linear and on coded values, and of degree 1 and 2 on the light of the
    printing conditions that are most like what was seen, each with several ridge weights, and a matrix with a tone curve. The
    one with the smallest sum of median and 95th percentile of the error wins, in ten-fold cross-validation.

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
    best: tuple[float, ColourMap, str] | None = None
    for base, domain, most in _kinds(sent, seen):
        inputs, targets = _inputs(sent, domain, base), _into(domain, seen)
        for degree in range(1, most + 1):
            if len(monomials(degree)) > 0.6 * len(sent):
                continue
            terms = polynomial_terms(inputs, degree)
            name = f"{domain} values" if base is None else f"{base.name}, {base.intent}"
            name = f"{name}, degree {degree}"
            for ridge in _RIDGES if degree > 1 else _RIDGES[:1]:  # only products of channels are penalised
                predicted = np.empty_like(seen, dtype=np.float64)
                for fold in range(_FOLDS):
                    out = folds == fold
                    predicted[out] = terms[out] @ _ridge_regression(terms[~out], targets[~out], degree, ridge)
                error = _median_p95(delta_e00(seen, _out_of(domain, np.clip(predicted, 0, 1))))
                if sum(error) < sum(scores.get(name, (np.inf, np.inf))):
                    scores[name] = error
                if best is None or sum(error) < best[0]:
                    table = _ridge_regression(terms, targets, degree, ridge)
                    rows = tuple((float(r), float(g), float(b)) for r, g, b in table)
                    best = sum(error), ColourMap(domain, degree, rows, base), name
    assert best is not None  # degree 1 is always tried
    if len(sent) >= _LEAST_TONED:
        error, name = _toned_error(sent, seen, folds), "tone curve"
        scores[name] = error
        if sum(error) < best[0]:
            best = sum(error), _fit_toned_map(sent, seen), name
    return ColourFit(best[1], _median_p95(delta_e00(seen, sent)), scores[best[2]], scores)


def _toned_error(
    sent: NDArray[np.floating], seen: NDArray[np.floating], folds: NDArray[np.int64]
) -> tuple[float, float]:
    predicted = np.empty_like(seen, dtype=np.float64)
    for fold in range(_FOLDS):
        out = folds == fold
        predicted[out] = _fit_toned_map(sent[~out], seen[~out]).apply(sent[out])
    return _median_p95(delta_e00(seen, predicted))


def _fit_toned_map(sent: NDArray[np.floating], seen: NDArray[np.floating]) -> ColourMap:
    table, curve = fit_toned(srgb_to_linear(sent), seen, _TONED_RIDGE)
    return ColourMap(TONED, 1, tuple((float(r), float(g), float(b)) for r, g, b in table), curve=curve)


def _kinds(sent: NDArray[np.floating], seen: NDArray[np.floating]) -> list[tuple[PrintingCondition | None, str, int]]:
    """List what polynomials are tried on: a printing condition or none, the domain and the highest degree."""
    targets, distances = srgb_to_linear(seen), {}
    for condition in training_conditions():
        terms = polynomial_terms(_inputs(sent, "linear", condition), 1)
        fitted = terms @ np.linalg.lstsq(terms, targets, rcond=None)[0]
        distances[condition] = sum(_median_p95(delta_e00(seen, linear_to_srgb(np.clip(fitted, 0, 1)))))
    nearest = sorted(distances, key=distances.__getitem__)[:_BASES_TRIED]
    plain: list[tuple[PrintingCondition | None, str, int]] = [(None, domain, _MOST_DEGREE) for domain in _POLYNOMIALS]
    return plain + [(base, "linear", _MOST_DEGREE_ON_PRINT) for base in nearest]


def _ridge_regression(
    terms: NDArray[np.floating], targets: NDArray[np.floating], degree: int, ridge: float
) -> NDArray[np.float64]:
    """Fit coefficients (M, 3) to terms (N, M); only products of channels are penalised."""
    weights = np.array([0.0 if len(factors) <= 1 else ridge for factors in monomials(degree)])
    squares = terms.T @ terms / len(terms) + np.diag(weights + 1e-12)
    return np.asarray(np.linalg.solve(squares, terms.T @ targets / len(terms)))


def polynomial_terms(values: NDArray[np.floating], degree: int) -> NDArray[np.float64]:
    """Compute the monomials of values (..., 3), in the order of :func:`monomials`: (..., M)."""
    return np.stack([np.prod(values[..., list(factors)], axis=-1) for factors in monomials(degree)], axis=-1)


def _inputs(srgb: NDArray[np.floating], domain: str, base: PrintingCondition | None) -> NDArray[np.floating]:
    """Compute what a map's polynomial is on, (..., 3), from sRGB values (..., 3)."""
    return _into(domain, srgb) if base is None else base.reflectance(srgb) / base.white


def _into(domain: str, srgb: NDArray[np.floating]) -> NDArray[np.floating]:
    return srgb_to_linear(srgb) if domain == "linear" else srgb


def _out_of(domain: str, values: NDArray[np.floating]) -> NDArray[np.floating]:
    return linear_to_srgb(values) if domain == "linear" else values


def _median_p95(errors: NDArray[np.float64]) -> tuple[float, float]:
    return float(np.median(errors)), float(np.percentile(errors, 95))
