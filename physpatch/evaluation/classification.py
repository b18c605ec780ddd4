"""What a patch does to held-out photographs, beside harmless patches at the same poses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from calibration.common.errors import InputError
from calibration.common.success import DETECTION_THRESHOLD
from physpatch.attack.objectives import Objective, choose_objective
from physpatch.attack.placement import Placing
from physpatch.data.photographs import UNLABELLED, Photographs
from physpatch.records.eot_config import EotConfig
from physpatch.records.evaluation_record import DefenceEffect, EvaluationRecord, PairedDifferences, TargetClass
from physpatch.records.patch_file import CONTROLS, Patch
from physpatch.rendering.cells import cells_from_patch
from physpatch.rendering.eot import EotParams, sample
from physpatch.stats.intervals import Difference, Rate, clip_rate, paired_difference, wilson
from physpatch.victims.protocol import Detector, Victim, judged_scores, untouched

CONDITIONS = ("patch", *CONTROLS)
EVALUATION_SEED_OFFSET = 1  # added to a run's seed, so that poses are drawn apart from the training's
_BATCH = 32


@dataclass(frozen=True)
class Scene:
    """A batch of held-out photographs with the poses at which every patch is shown in them."""

    images: Tensor  # (B, 3, S, S) in [0, 1] on the victim's device
    labels: Tensor  # (B,)
    params: EotParams
    placing: Placing
    boxes: tuple[Tensor, ...] = ()  # the objects of one class in each (M, 4), the first of which the patch is put on

    def showing(self, patch: Patch) -> Tensor:
        """The photographs with this patch in its poses."""
        return self.placing.compose(self.images, cells_from_patch(patch, self.images.device), self.params)

    @property
    def bare(self) -> Tensor:
        """The photographs without a patch: as they are, or with a sign that is to carry it."""
        return self.images if self.placing.carrier is None else self.placing.compose(self.images, None, self.params)

    @property
    def objects(self) -> Tensor | None:
        """The boxes of what the patch is put on, (B, 4); None where it is on nothing."""
        if self.boxes:
            return torch.stack([boxes[0] for boxes in self.boxes])
        return None if self.placing.carrier is None else self.placing.boxes(self.params, self.images.shape[-1])

    def coverage(self, patch: Patch) -> Tensor:
        """How much of each pixel the patch covers, (B, 1, S, S)."""
        return self.placing.coverage(self.images, cells_from_patch(patch, self.images.device), self.params)


@dataclass(frozen=True)
class Outcomes:
    """What happened with the patch in each view, all photographs in one pose after another; bool, (poses * n,)."""

    right: Tensor  # with the grey control
    targeted: Tensor | None  # the target came first; None without a target
    wrong: Tensor
    # right with grey, which does not show the target itself, and not of the target's class
    counts_for_target: Tensor | None
    units: Tensor  # which views are of one photograph
    control_targeted: dict[str, Tensor] = field(default_factory=dict)  # the same by control; empty without a target
    control_wrong: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Counts on one victim. For a detector "right" means that the class it is surest of stays found.

    ``n`` counts photographs, each seen in ``poses`` poses. With one pose the intervals are Wilson's; with several the
    photograph is the unit, because its poses are not independent trials.

    ``targeted`` and ``untargeted`` are counted on images that are right with the grey control at the same pose, targeted
    ones further where the target is not the true class and the grey control does not already show it.
    ``targeted_of_all`` and ``untargeted_of_all`` are of all views, but for those whose true class is the target: what a
    harmless sticker spoils in any case is in them. ``caution`` says where the photographs are easier for the network than
    those on which its accuracy was published, as its own training photographs are.
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
    targeted_of_all: dict[str, Rate] = field(default_factory=dict)
    untargeted_of_all: dict[str, Rate] = field(default_factory=dict)
    caution: str | None = None

    def differences(self) -> dict[str, dict[str, Difference]]:
        """Success of the patch less each control's, targeted and untargeted, on the views that count; paired by photograph."""
        seen = self.outcomes
        differences: dict[str, dict[str, Difference]] = {}
        for control, wrong in seen.control_wrong.items():
            targeted = Difference(None, None, 0)
            if seen.targeted is not None and seen.counts_for_target is not None:
                targeted = _change(seen.control_targeted[control], seen.targeted, seen.counts_for_target, seen.units)
            untargeted = _change(wrong, seen.wrong, seen.right, seen.units)
            differences[control] = {"targeted": targeted, "untargeted": untargeted}
        return differences

    def to_record(self) -> EvaluationRecord:
        """Write it down as files hold it."""
        return EvaluationRecord(
            n=self.n,
            poses=self.poses,
            clean_accuracy=self.clean_accuracy,
            patched_accuracy=self.accuracy["patch"],
            controls={c: self.accuracy[c] for c in CONTROLS},
            targeted_success=self.targeted["patch"],
            untargeted_success=self.untargeted["patch"],
            control_targeted_success={c: self.targeted[c] for c in CONTROLS},
            control_untargeted_success={c: self.untargeted[c] for c in CONTROLS},
            targeted_success_of_all=self.targeted_of_all,
            untargeted_success_of_all=self.untargeted_of_all,
            differences={control: PairedDifferences(**kinds) for control, kinds in self.differences().items()},
            caution=self.caution,
            target=TargetClass.of(self.target),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``physpatch evaluate --json``."""
        return self.to_record().to_dict()


def evaluate_patch(
    victim: Victim,
    photographs: Photographs,
    patch: Patch,
    *,
    area: float = 0.15,
    eot: EotConfig | None = None,
    seed: int = 0,
    poses: int = 1,
    scope: str = "patch",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure a patch on held-out photographs at random poses, beside harmless controls at the same poses.

    Args:
        victim: the network.
        photographs: held out from training, at the network's input size; a classifier needs their labels.
        patch: what is measured; its target counts for targeted success, where the victim has such a class.
        area: share of the image.
        eot: ranges of the poses; None for the defaults.
        seed: of the poses.
        poses: how many for each photograph; more than one steadies the numbers where photographs are few.
        scope: where a detector has to find the target class: at the ``patch``, or anywhere in the ``image``.
        progress: called with the number of views measured and their total.

    Raises:
        InputError: no labelled photographs.
    """
    placing = Placing(area, grid=patch.grid)
    target = None if patch.target is None else victim.target_index(patch.target)
    shown = {c: patch if c == "patch" else patch.control(c) for c in CONDITIONS}
    scores: dict[str, list[Tensor]] = {name: [] for name in ("clean", *shown)}
    aimed: dict[str, list[Tensor]] = {name: [] for name in shown}
    labels = []
    with untouched(victim), torch.no_grad():
        for scene in scenes(victim, photographs, placing, eot or EotConfig(), seed, poses):
            at = None
            if scope == "patch" and target is not None:
                at = placing.patch_boxes(scene.params, scene.images.shape[-1])
            scores["clean"].append(_scores(victim, scene.images, None)[0].cpu())
            for name, cells in shown.items():
                anywhere, there = _scores(victim, scene.showing(cells), at)
                scores[name].append(anywhere.cpu())
                aimed[name].append(there.cpu())
            labels.append(scene.labels)
            progress(sum(map(len, labels)), len(photographs) * poses)
    joined, at_target = ({n: torch.cat(parts) for n, parts in one.items()} for one in (scores, aimed))
    units = photographs.units[_usable(victim, photographs)].repeat(poses)
    return _count(victim, joined, at_target, torch.cat(labels), units, target, poses, patch.target)


def _scores(victim: Victim, images: Tensor, at: Tensor | None) -> tuple[Tensor, Tensor]:
    """Score images, and, for a detector, its boxes with their middle in ``at`` (B, 4)."""
    if not isinstance(victim, Detector):
        scores = victim.scores(images)
        return scores, scores
    predictions = victim.predictions(images)
    scores = judged_scores(predictions)
    return scores, scores if at is None else judged_scores(predictions, at, centred=True)


def scenes(
    victim: Victim, photographs: Photographs, placing: Placing, eot: EotConfig, seed: int, poses: int = 1
) -> Iterator[Scene]:
    """The held-out photographs in batches, with poses drawn by ``seed``; unlabelled ones only for detectors.

    All photographs come once, then once more for each further pose.
    """
    usable = _usable(victim, photographs)
    if not usable.any():
        raise InputError(
            "no labelled photographs to measure on; give data with labels (labels.csv, or a folder a class)"
        )
    kept = photographs if usable.all() else photographs.subset(usable)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(poses):
        for rows in torch.arange(len(kept)).split(_BATCH):
            images = kept.images[rows].to(victim.device).float() / 255
            params = sample(eot, len(images), generator)
            boxes = kept.boxes[rows[0] : rows[-1] + 1]
            scene = Scene(images, kept.labels[rows], params, placing, boxes)
            yield replace(scene, params=placing.aimed(params, scene.objects, images.shape[-1]))


def _usable(victim: Victim, photographs: Photographs) -> Tensor:
    """Those whose answers can be judged (N,)."""
    everything = torch.ones(len(photographs), dtype=torch.bool)
    return photographs.labels != UNLABELLED if victim.task == "classify" else everything


def _count(
    victim: Victim,
    scores: dict[str, Tensor],
    at_target: dict[str, Tensor],
    labels: Tensor,
    units: Tensor,
    target: int | None,
    poses: int,
    described: dict[str, Any] | None,
) -> Evaluation:
    right = {name: _right(victim, values, scores, labels) for name, values in scores.items()}
    untargeted = {c: rate_over(~right[c], right["grey"], units) for c in CONDITIONS}
    targeted = {c: Rate(None, None, 0) for c in CONDITIONS}
    everything = torch.ones(len(labels), dtype=torch.bool)
    of_all: dict[str, Rate] = {}
    reached: dict[str, Tensor] = {}
    hits = fair = None
    if target is not None:
        aim: Objective = choose_objective(victim.task, target)
        reached = {c: aim.success(at_target[c], labels) for c in CONDITIONS}
        fair = right["grey"] & ~reached["grey"] & (labels != target)
        targeted = {c: rate_over(reached[c], fair, units) for c in CONDITIONS}
        of_all = {c: rate_over(reached[c], labels != target, units) for c in CONDITIONS}
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
        outcomes=Outcomes(
            right["grey"],
            hits,
            ~right["patch"],
            fair,
            units,
            {c: reached[c] for c in CONTROLS if c in reached},
            {c: ~right[c] for c in CONTROLS},
        ),
        targeted_of_all=of_all,
        untargeted_of_all={c: rate_over(~right[c], everything, units) for c in CONDITIONS},
        caution=_caution(victim, rate_over(right["clean"], everything, units)),
    )


def _caution(victim: Victim, clean: Rate) -> str | None:
    """A sentence where the clean accuracy is above what was published for these weights, by more than chance."""
    published = victim.published_accuracy
    if published is None or clean.ci95 is None or clean.ci95[0] <= published:
        return None
    return (
        f"{victim.name} is right on {clean} of the clean photographs, where {100 * published:.1f} % of ILSVRC's validation "
        "photographs are published for it: these may be among the photographs that it was trained on, and what a patch does "
        "to others may differ; measure on validation photographs of your own with --data"
    )


def defence_effect(bare: Evaluation, defended: Evaluation) -> DefenceEffect:
    """What a defence is worth and what it costs: the changes of success, paired by photograph, and the clean accuracy paid.

    Success is compared on views that count with and without the defence. Both evaluations are of the same views.
    """
    before, after = bare.outcomes, defended.outcomes
    targeted = None
    if before.targeted is not None and after.targeted is not None:
        assert before.counts_for_target is not None and after.counts_for_target is not None
        fair = before.counts_for_target & after.counts_for_target
        targeted = _change(before.targeted, after.targeted, fair, before.units)
    return DefenceEffect(
        clean_accuracy_paid=bare.clean_accuracy - defended.clean_accuracy,
        targeted_success_change=targeted,
        untargeted_success_change=_change(before.wrong, after.wrong, before.right & after.right, before.units),
    )


def _change(before: Tensor, after: Tensor, counted: Tensor, units: Tensor) -> Difference:
    """Success after less before; the photograph is the unit."""
    return paired_difference(*(_shares(happened, counted, units) for happened in (after, before)))


def _right(victim: Victim, values: Tensor, scores: dict[str, Tensor], labels: Tensor) -> Tensor:
    if victim.task == "classify":
        return values.argmax(dim=1) == labels
    surest = scores["clean"].argmax(dim=1, keepdim=True)
    return values.gather(1, surest)[:, 0].sigmoid() >= DETECTION_THRESHOLD


def rate_over(success: Tensor, counted: Tensor, units: Tensor) -> Rate:
    """The share of successes (V,) among the views that are counted; those of one photograph have the same ``units`` (V,)."""
    if len(units.unique()) == len(units):
        return wilson(int((success & counted).sum()), int(counted.sum()))
    return clip_rate(_shares(success, counted, units))


def _shares(happened: Tensor, counted: Tensor, units: Tensor) -> list[float]:
    """For each photograph with views that are counted, in how large a share of them it happened."""
    _, number = units.unique(return_inverse=True)
    hits, trials = (torch.bincount(number[mask], minlength=len(units)) for mask in (happened & counted, counted))
    return [h / t for h, t in zip(hits.tolist(), trials.tolist(), strict=True) if t]
