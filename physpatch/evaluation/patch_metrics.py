"""The measures of a patch as a metric of torchmetrics, for an evaluation loop of one's own."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from calibration.common.errors import InputError
from physpatch.evaluation.classification import CONDITIONS, change_over, rate_over
from physpatch.records.patch_file import CONTROLS
from physpatch.stats.intervals import Rate

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

    def __init__(self, target: int | None = None, **options: Any) -> None:
        """Begin without views.

        Args:
            target: index of the target class; None for an untargeted patch.
            options: of :class:`torchmetrics.Metric`.
        """
        super().__init__(**options)
        self.target = target
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
            InputError: patch or grey missing, something else than these, or shapes that do not fit.
        """
        missing = [name for name in _REQUIRED if name not in scores]
        unknown = [name for name in scores if name not in _SHEETS]
        if missing or unknown:
            raise InputError(
                f"PatchMetrics got scores of {', '.join(scores) or 'nothing'}; expected patch and grey, and optionally "
                "random, shuffled and clean"
            )
        seen = sum(map(len, self.labels))
        if seen and {name for name in _SHEETS if getattr(self, name)} != set(scores):
            raise InputError("PatchMetrics got scores of other sheets than before; give the same in every call")
        for name, values in scores.items():
            if len(values) != len(labels) or values.ndim not in (1, 2):
                raise InputError(
                    f"scores of {name} have shape {tuple(values.shape)} for {len(labels)} labels; expected (B, K) or (B,)"
                )
            getattr(self, name).append(values.argmax(dim=1) if values.ndim == 2 else values.long())
        self.labels.append(labels.long())
        self.units.append(torch.full_like(labels, _ALONE, dtype=torch.long) if units is None else units.long())

    def compute(self) -> dict[str, Any]:
        """Compute the numbers, by the names of ``physpatch evaluate --json``; a rate is ``{rate, ci95, n}``.

        Raises:
            InputError: no views.
        """
        if not self.labels:
            raise InputError("PatchMetrics has no views; call update first")
        labels, units = dim_zero_cat(self.labels).cpu(), dim_zero_cat(self.units).cpu().clone()
        alone = units == _ALONE
        units[alone] = units.max() + 1 + torch.arange(int(alone.sum()))  # not when added: processes number alike
        first = {name: dim_zero_cat(state).cpu() for name in _SHEETS if (state := getattr(self, name))}
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


def _mean(right: Tensor) -> float:
    return float(right.double().mean())
