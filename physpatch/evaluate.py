"""What a patch does to held-out photographs, beside harmless patches at the same poses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from calibration.errors import InputError
from physpatch.artifact import Patch
from physpatch.config import EotConfig
from physpatch.data import UNLABELLED, Photographs
from physpatch.eot import EotParams, sample
from physpatch.objectives import Objective, choose_objective
from physpatch.patch import cells_from_patch
from physpatch.placing import Placing
from physpatch.stats import Difference, Rate, clip_rate, paired_difference, wilson
from physpatch.victims.base import DETECTION_THRESHOLD, Victim, untouched

CONDITIONS = ("patch", "grey", "random")
EVALUATION_SEED_OFFSET = 1  # added to a run's seed, so that poses are drawn apart from the training's
_BATCH = 32


@dataclass(frozen=True)
class Scene:
    """A batch of held-out photographs with the poses at which every patch is shown in them."""

    images: Tensor  # (B, 3, S, S) in [0, 1] on the victim's device
    labels: Tensor  # (B,)
    params: EotParams
    placing: Placing

    def showing(self, patch: Patch) -> Tensor:
        """The photographs with this patch in its poses."""
        return self.placing.compose(self.images, cells_from_patch(patch, self.images.device), self.params)

    @property
    def bare(self) -> Tensor:
        """The photographs without a patch: as they are, or with what carries it."""
        return self.images if self.placing.carrier is None else self.placing.compose(self.images, None, self.params)

    def coverage(self, patch: Patch) -> Tensor:
        """How much of each pixel the patch covers, (B, 1, S, S)."""
        return self.placing.coverage(self.images, cells_from_patch(patch, self.images.device), self.params)


@dataclass(frozen=True)
class Outcomes:
    """What happened with the patch in each view, all photographs in one pose after another; bool, (poses * n,)."""

    right: Tensor  # with the grey control
    targeted: Tensor | None  # the target came first; None without a target
    wrong: Tensor
    counts_for_target: (
        Tensor | None
    )  # right with grey, which does not show the target itself, and not of the target's class


@dataclass(frozen=True)
class Evaluation:
    """Counts on one victim. For a detector "right" means that the class it is surest of stays found.

    ``n`` counts photographs, each seen in ``poses`` poses. With one pose the intervals are Wilson's; with several the
    photograph is the unit, because its poses are not independent trials.

    ``targeted`` and ``untargeted`` are counted on images that are right with the grey control at the same pose, targeted
    ones further where the target is not the true class and the grey control does not already show it.
    """

    model: str
    n: int
    poses: int
    clean_accuracy: float
    accuracy: dict[str, float]
    targeted: dict[str, Rate]
    untargeted: dict[str, Rate]
    target: dict[str, Any] | None
    outcomes: "Outcomes" = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``physpatch evaluate --json``."""
        controls = [c for c in CONDITIONS if c != "patch"]
        return {
            "n": self.n,
            "poses": self.poses,
            "clean_accuracy": self.clean_accuracy,
            "patched_accuracy": self.accuracy["patch"],
            "controls": {c: self.accuracy[c] for c in controls},
            "targeted_success": self.targeted["patch"].to_dict(),
            "untargeted_success": self.untargeted["patch"].to_dict(),
            "control_targeted_success": {c: self.targeted[c].to_dict() for c in controls},
            "control_untargeted_success": {c: self.untargeted[c].to_dict() for c in controls},
            "target": self.target,
        }


def evaluate_patch(
    victim: Victim,
    photographs: Photographs,
    patch: Patch,
    *,
    area: float = 0.15,
    eot: EotConfig | None = None,
    seed: int = 0,
    poses: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure a patch on held-out photographs at random poses, beside grey and random cells at the same poses.

    Args:
        victim: the network.
        photographs: held out from training, at the network's input size; a classifier needs their labels.
        patch: what is measured; its target counts for targeted success, where the victim has such a class.
        area: share of the image.
        eot: ranges of the poses; None for the defaults.
        seed: of the poses.
        poses: how many for each photograph; more than one steadies the numbers where photographs are few.
        progress: called with the number of views measured and their total.

    Raises:
        InputError: no labelled photographs.
    """
    target = None if patch.target is None else victim.target_index(patch.target)
    shown = {"patch": patch, "grey": patch.control("grey"), "random": patch.control("random")}
    scores: dict[str, list[Tensor]] = {name: [] for name in ("clean", *shown)}
    labels = []
    with untouched(victim), torch.no_grad():
        for scene in scenes(victim, photographs, Placing(area), eot or EotConfig(), seed, poses):
            scores["clean"].append(victim.scores(scene.images).cpu())
            for name, cells in shown.items():
                scores[name].append(victim.scores(scene.showing(cells)).cpu())
            labels.append(scene.labels)
            progress(sum(map(len, labels)), len(photographs) * poses)
    joined = {name: torch.cat(parts) for name, parts in scores.items()}
    return _count(victim, joined, torch.cat(labels), target, poses, patch.target)


def scenes(
    victim: Victim, photographs: Photographs, placing: Placing, eot: EotConfig, seed: int, poses: int = 1
) -> Iterator[Scene]:
    """The held-out photographs in batches, with poses drawn by ``seed``; unlabelled ones only for detectors.

    All photographs come once, then once more for each further pose.
    """
    usable = (
        photographs.labels != UNLABELLED
        if victim.task == "classify"
        else torch.ones(len(photographs), dtype=torch.bool)
    )
    if not usable.any():
        raise InputError(
            "no labelled photographs to measure on; give data with labels (labels.csv, or a folder a class)"
        )
    generator = torch.Generator().manual_seed(seed)
    for _ in range(poses):
        for images, labels in zip(
            photographs.images[usable].split(_BATCH), photographs.labels[usable].split(_BATCH), strict=True
        ):
            params = sample(eot, len(images), generator)
            yield Scene(images.to(victim.device).float() / 255, labels, params, placing)


def _count(
    victim: Victim,
    scores: dict[str, Tensor],
    labels: Tensor,
    target: int | None,
    poses: int,
    described: dict[str, Any] | None,
) -> Evaluation:
    right = {name: _right(victim, values, scores, labels) for name, values in scores.items()}
    untargeted = {c: rate_over(~right[c], right["grey"], poses) for c in CONDITIONS}
    targeted = {c: Rate(None, None, 0) for c in CONDITIONS}
    hits = fair = None
    if target is not None:
        aim: Objective = choose_objective(victim.task, target)
        reached = {c: aim.success(scores[c], labels) for c in CONDITIONS}
        fair = right["grey"] & ~reached["grey"] & (labels != target)
        targeted = {c: rate_over(reached[c], fair, poses) for c in CONDITIONS}
        hits = reached["patch"]
    accuracy = {name: float(values.double().mean()) for name, values in right.items()}
    patched = {c: accuracy[c] for c in CONDITIONS}
    return Evaluation(
        model=victim.name,
        n=len(labels) // poses,
        poses=poses,
        clean_accuracy=accuracy["clean"],
        accuracy=patched,
        targeted=targeted,
        untargeted=untargeted,
        target=described,
        outcomes=Outcomes(right["grey"], hits, ~right["patch"], fair),
    )


def defence_effect(bare: Evaluation, defended: Evaluation) -> dict[str, Any]:
    """What a defence is worth and what it costs: the changes of success, paired by photograph, and the clean accuracy paid.

    Success is compared on views that count with and without the defence. Both evaluations are of the same views.
    """
    before, after = bare.outcomes, defended.outcomes
    changes: dict[str, Any] = {"targeted_success_change": None}
    if before.targeted is not None and after.targeted is not None:
        assert before.counts_for_target is not None and after.counts_for_target is not None
        fair = before.counts_for_target & after.counts_for_target
        changes["targeted_success_change"] = _change(before.targeted, after.targeted, fair, bare.poses).to_dict()
    fair = before.right & after.right
    changes["untargeted_success_change"] = _change(before.wrong, after.wrong, fair, bare.poses).to_dict()
    return {"clean_accuracy_paid": bare.clean_accuracy - defended.clean_accuracy} | changes


def _change(before: Tensor, after: Tensor, counted: Tensor, poses: int) -> Difference:
    """Success after less before; the photograph is the unit."""
    trials = counted.view(poses, -1).sum(dim=0)
    shares = [
        ((happened & counted).view(poses, -1).sum(dim=0)[trials > 0] / trials[trials > 0]).tolist()
        for happened in (after, before)
    ]
    return paired_difference(*shares)


def _right(victim: Victim, values: Tensor, scores: dict[str, Tensor], labels: Tensor) -> Tensor:
    if victim.task == "classify":
        return values.argmax(dim=1) == labels
    surest = scores["clean"].argmax(dim=1, keepdim=True)
    return values.gather(1, surest)[:, 0].sigmoid() >= DETECTION_THRESHOLD


def rate_over(success: Tensor, counted: Tensor, poses: int) -> Rate:
    """The share of successes (poses * n,) among what is counted, with the photograph as the unit."""
    if poses == 1:
        return wilson(int((success & counted).sum()), int(counted.sum()))
    hits, trials = ((mask.view(poses, -1)).sum(dim=0) for mask in (success & counted, counted))
    return clip_rate([h / t for h, t in zip(hits.tolist(), trials.tolist(), strict=True) if t])
