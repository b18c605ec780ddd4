"""The measures of a patch as a metric of torchmetrics, for an evaluation loop of one's own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from calibration.common.errors import InputError
from physpatch.evaluation.classification import CONDITIONS, change_over, rate_over
from physpatch.records.patch_file import CONTROLS
from physpatch.stats.intervals import Rate
from physpatch.victims.labels import find_category

_SHEETS = ("clean", *CONDITIONS)
_REQUIRED = ("patch", "grey")
_ALONE = -1  # the unit of a view that shows another photograph than all others


class PatchMetrics(Metric):  # type: ignore[misc]  # mypy does not follow torchmetrics
    """Count what ``physpatch evaluate`` counts, from the scores of a classifier in a loop of your own.

    Success counts where the answer is right with the grey control in the same view, and targeted success only where that
    control does not show the target and the target is not the true class. Several processes are joined as torchmetrics does.

        metrics = PatchMetrics(target=530)
        for images, labels in loader:
            metrics.update(labels, patch=model(patched(images)), grey=model(with_grey(images)))
        print(metrics.compute()["targeted_success"])
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False

    def __init__(
        self, target: int | str | None = None, *, categories: Sequence[str] | None = None, **options: Any
    ) -> None:
        """Begin without views.

        Args:
            target: index of the target class, or its name among ``categories``; None for an untargeted patch.
            categories: the names of the classes, in order; they are needed for a target by name only.
            options: of :class:`torchmetrics.Metric`.

        Raises:
            InputError: there is no such target.
        """
        super().__init__(**options)
        self.target = _target_index(target, categories)
        for name in ("labels", "units", *_SHEETS):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, labels: Tensor, *, units: Tensor | None = None, **scores: Tensor) -> None:
        """Add views.

        Args:
            labels: the true classes, (B,) integers.
            units: number of the photograph, or clip, that each view shows, (B,) integers, where some are shown several times:
                intervals are over these. None if every view shows another one.
            scores: by what was shown in the same views: ``patch`` and ``grey``, and where measured ``random``, ``shuffled`` and
                ``clean``: scores (B, K), or the first class (B,) as integers. Each call has the same.

        Raises:
            InputError: patch or grey missing, something else than these, or values that cannot be; nothing is added then.
        """
        try:
            self._check(labels, units, scores)
        except InputError:
            self._update_count -= 1  # torchmetrics counted the call already, and would believe that it added views
            raise
        for name, values in scores.items():
            getattr(self, name).append(values.argmax(dim=1) if values.ndim == 2 else values.long())
        self.labels.append(labels.long())
        self.units.append(torch.full_like(labels, _ALONE, dtype=torch.long) if units is None else units.long())

    def forward(self, labels: Tensor, *, units: Tensor | None = None, **scores: Tensor) -> Any:
        """Add views as :meth:`update` does, and compute the numbers of these alone."""
        self._check(labels, units, scores)  # before torchmetrics puts the former views aside, and would lose them
        return super().forward(labels, units=units, **scores)

    def _check(self, labels: Any, units: Any, scores: dict[str, Any]) -> None:
        missing = [name for name in _REQUIRED if name not in scores]
        unknown = [name for name in scores if name not in _SHEETS]
        if missing or unknown:
            raise InputError(
                f"PatchMetrics got scores of {', '.join(scores) or 'nothing'}; expected patch and grey, and optionally "
                "random, shuffled and clean"
            )
        _check_whole("labels", labels)
        if units is not None:
            _check_whole("units", units, len(labels))
        if _holds_any(self.labels) and {name for name in _SHEETS if _holds_any(getattr(self, name))} != set(scores):
            raise InputError("PatchMetrics got scores of other sheets than before; give the same in every call")
        for name, values in scores.items():
            _check_scores(name, values, len(labels))
        numbers = {name: values.shape[1] for name, values in scores.items() if values.ndim == 2}
        if len(set(numbers.values())) > 1:
            raise InputError(f"PatchMetrics got scores of different numbers of classes: {numbers}")
        for classes in numbers.values():
            for kind, index in (("label", int(labels.max())), ("target", -1 if self.target is None else self.target)):
                if index >= classes:
                    raise InputError(f"PatchMetrics has the {kind} {index}, but scores of classes 0 to {classes - 1}")

    def compute(self) -> dict[str, Any]:
        """Compute the numbers, by the names of ``physpatch evaluate --json``; a rate is ``{rate, ci95, n}``.

        Raises:
            InputError: no views.
        """
        if not _holds_any(self.labels):
            raise InputError("PatchMetrics has no views; call update first")
        labels, units = dim_zero_cat(self.labels).cpu(), dim_zero_cat(self.units).cpu().clone()
        alone = units == _ALONE
        units[alone] = units.max() + 1 + torch.arange(int(alone.sum()))  # not when added: processes number alike
        first = {name: dim_zero_cat(state).cpu() for name in _SHEETS if _holds_any(state := getattr(self, name))}
        right = {name: answers == labels for name, answers in first.items()}
        controls = [name for name in CONTROLS if name in first]
        values: dict[str, Any] = {
            "n": len(labels),
            "patched_accuracy": _mean(right["patch"]),
            "controls": {name: _mean(right[name]) for name in controls},
            "untargeted_success": rate_over(~right["patch"], right["grey"], units).to_dict(),
            "control_untargeted_success": {
                name: rate_over(~right[name], right["grey"], units).to_dict() for name in controls
            },
            "differences": {
                name: {"untargeted": change_over(~right[name], ~right["patch"], right["grey"], units).to_dict()}
                for name in controls
            },
            "targeted_success": Rate(None, None, 0).to_dict(),
        }
        if "clean" in right:
            values["clean_accuracy"] = _mean(right["clean"])
        if self.target is not None:
            reached = {name: answers == self.target for name, answers in first.items()}
            fair = right["grey"] & (labels != self.target)
            values["targeted_success"] = rate_over(reached["patch"], fair, units).to_dict()
            values["control_targeted_success"] = {
                name: rate_over(reached[name], fair, units).to_dict() for name in controls
            }
            for name in controls:
                change = change_over(reached[name], reached["patch"], fair, units)
                values["differences"][name]["targeted"] = change.to_dict()
        return values


def _target_index(target: Any, categories: Sequence[str] | None) -> int | None:
    if target is None:
        return None
    if isinstance(target, str):
        if categories is None:
            raise InputError(f"PatchMetrics got the target {target!r}; give categories, too, or the index of the class")
        return find_category(target, categories, "PatchMetrics")
    if isinstance(target, bool) or not isinstance(target, (int, np.integer)) or target < 0:
        raise InputError(f"PatchMetrics got the target {target!r}; expected the index of a class, or its name")
    if categories is not None and target >= len(categories):
        raise InputError(f"PatchMetrics got the target {target}, but has classes 0 to {len(categories) - 1}")
    return int(target)


def _holds_any(state: list[Tensor] | Tensor) -> bool:
    """Tell whether a state has values: a list of them, or one tensor where torchmetrics has joined several processes."""
    return any(part.numel() for part in ([state] if isinstance(state, Tensor) else state))


def _check_whole(name: str, values: Any, count: int | None = None) -> None:
    """Check a tensor (B,) of whole numbers from 0 on."""
    form = f"{values.dtype} {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
    if not isinstance(values, Tensor) or values.ndim != 1 or not len(values) or not _is_whole(values):
        raise InputError(f"{name} of PatchMetrics are {form}; expected a tensor (B,) of integers")
    if count is not None and len(values) != count:
        raise InputError(f"PatchMetrics got {len(values)} {name} for {count} labels; expected one for each")
    if int(values.min()) < 0:
        raise InputError(f"{name} of PatchMetrics have {int(values.min())} among them; expected 0 or more")


def _check_scores(name: str, values: Any, count: int) -> None:
    if not isinstance(values, Tensor):
        raise InputError(f"scores of {name} are {type(values).__name__}; expected a tensor (B, K) or (B,)")
    classes = values.shape[1] if values.ndim == 2 else None
    if values.ndim not in (1, 2) or len(values) != count or classes in (0, 1):
        raise InputError(
            f"scores of {name} have shape {tuple(values.shape)} for {count} labels; expected (B, K) or (B,)"
        )
    if values.ndim == 1 and not _is_whole(values):
        raise InputError(
            f"scores of {name} are {values.dtype} (B,); expected scores (B, K), or the first class as integers"
        )
    if values.ndim == 1 and int(values.min()) < 0:
        raise InputError(f"scores of {name} name the class {int(values.min())}; expected 0 or more")
    odd = values.isnan().reshape(count, -1).any(dim=1).nonzero()
    if len(odd):
        raise InputError(
            f"scores of {name} are not numbers (NaN) in row {int(odd[0, 0])}, so no class comes first there"
        )


def _is_whole(values: Tensor) -> bool:
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def _mean(right: Tensor) -> float:
    return float(right.double().mean())
