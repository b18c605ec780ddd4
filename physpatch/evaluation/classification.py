"""The effect of a patch on held-out photographs, compared with harmless patches at the same poses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from calibration.common.errors import InputError
from calibration.common.success import DETECTION_THRESHOLD
from physpatch.attack.objectives import Objective, choose_objective
from physpatch.attack.placement import Placement
from physpatch.data.photographs import UNLABELLED, Photographs
from physpatch.records.config import PatchConfig
from physpatch.records.eot_config import EotConfig
from physpatch.records.evaluation_record import DefenceEffect, EvaluationRecord, PairedDifferences, TargetClass
from physpatch.records.patch_file import CONTROLS, Patch
from physpatch.rendering.cells import cells_from_patch
from physpatch.rendering.eot import EotParams, sample
from physpatch.stats.intervals import Difference, Rate, clip_rate, means_by_unit, paired_difference, wilson
from physpatch.transforms import DEFAULT_PRESET
from physpatch.victims.detector import Detector
from physpatch.victims.freezing import untouched
from physpatch.victims.protocol import Victim

Answer = TypeVar("Answer")

CONDITIONS = ("patch", *CONTROLS)
EVALUATION_SEED_OFFSET = 1  # added to a run's seed, so that the poses differ from the training's
_BATCH = 32
_SCREEN = "screen"  # the patch in the colours of a screen, beside its print


@dataclass(frozen=True)
class Scene:
    """A batch of held-out photographs, with the poses in which every patch is shown in them."""

    images: Tensor  # (B, 3, S, S) in [0, 1] on the victim's device
    labels: Tensor  # (B,)
    units: Tensor  # (B,) equal for images of one photograph or clip
    params: EotParams
    placement: Placement
    boxes: tuple[Tensor, ...] = ()  # the objects of one class in each (M, 4); the first one carries the patch
    number: int = 0  # of the photographs' batch: equal in every pose

    def showing(self, patch: Patch, *, on_screen: bool = False) -> Tensor:
        """Return the photographs with this patch in its poses, (B, 3, S, S): as a print, or in the colours of a screen."""
        params = self.params.changed(prints=()) if on_screen else self.params
        return self.placement.compose(self.images, cells_from_patch(patch, self.images.device), params)

    @property
    def bare(self) -> Tensor:
        """Return the photographs without a patch: unchanged, or with the bare sign that would carry it."""
        return self.images if self.placement.sign is None else self.placement.compose(self.images, None, self.params)

    @property
    def objects(self) -> Tensor | None:
        """Return the boxes of the objects that carry the patch: (B, 4); None where there are none."""
        if self.boxes:
            return torch.stack([boxes[0] for boxes in self.boxes])
        return None if self.placement.sign is None else self.placement.boxes(self.params, self.images.shape[-1])

    def coverage(self, patch: Patch) -> Tensor:
        """Compute how much of each pixel the patch covers: (B, 1, S, S) in [0, 1]."""
        return self.placement.coverage(self.images, cells_from_patch(patch, self.images.device), self.params)


class ForBare(Generic[Answer]):
    """What a network answers to scenes without a patch: asked once for photographs that are the same in every pose."""

    def __init__(self, answer: Callable[[Tensor], Answer]) -> None:
        """Take the function that gives the answer to images (B, 3, S, S)."""
        self._answer = answer
        self._known: dict[int, Answer] = {}

    def __call__(self, scene: Scene) -> Answer:
        """Return the answer to :attr:`Scene.bare`."""
        if scene.placement.sign is not None:  # it is drawn in each pose
            return self._answer(scene.bare)
        if scene.number not in self._known:
            self._known[scene.number] = self._answer(scene.bare)
        return self._known[scene.number]


@dataclass(frozen=True)
class ViewSuccess:
    """Success in each view, bool (poses * n,): all photographs in the first pose, then in the next, and so on."""

    right: Tensor  # recognised with the grey control
    targeted: Tensor | None  # the target came first; None without a target
    wrong: Tensor
    # right with the grey control, which does not already show the target, and not of the target's class
    counts_for_target: Tensor | None
    units: Tensor  # equal for the views of one photograph
    control_targeted: dict[str, Tensor] = field(default_factory=dict)  # by control; empty without a target
    control_wrong: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Results on one victim. For a detector, "right" means that it still detects the class of its most confident box.

    ``n`` counts photographs, each seen in ``poses`` poses. With one pose, the intervals are Wilson's; with several, the
    photograph is the unit, because its poses are not independent trials.

    ``targeted`` and ``untargeted`` are counted on views that are right with the grey control at the same pose; targeted
    success further requires that the target is not the true class and that the grey control does not already show it.
    ``on_screen`` is the patch's targeted and untargeted success on the same views in the colours of a screen; empty where it
    was not shown as a print.

    ``targeted_of_all`` and ``untargeted_of_all`` are over all views (targeted success: except those whose true class is the
    target), so they include the harm that any sticker does. ``caution`` is a warning where the network does better on these
    photographs than its published accuracy, as it does on photographs that it was trained on.
    """

    model: str
    n: int
    poses: int
    clean_accuracy: float
    accuracy: dict[str, float]
    targeted: dict[str, Rate]
    untargeted: dict[str, Rate]
    target: dict[str, Any] | None
    success: "ViewSuccess" = field(repr=False)
    targeted_of_all: dict[str, Rate] = field(default_factory=dict)
    untargeted_of_all: dict[str, Rate] = field(default_factory=dict)
    caution: str | None = None
    on_screen: dict[str, Rate] = field(default_factory=dict)

    def differences(self) -> dict[str, dict[str, Difference]]:
        """Compute the success of the patch minus that of each control, on the views that count, paired by photograph."""
        views = self.success
        differences: dict[str, dict[str, Difference]] = {}
        for control, wrong in views.control_wrong.items():
            targeted = Difference(None, None, 0)
            if views.targeted is not None and views.counts_for_target is not None:
                targeted = change_over(
                    views.control_targeted[control], views.targeted, views.counts_for_target, views.units
                )
            untargeted = change_over(wrong, views.wrong, views.right, views.units)
            differences[control] = {"targeted": targeted, "untargeted": untargeted}
        return differences

    def to_record(self) -> EvaluationRecord:
        """Convert the results to a record, as files contain it."""
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
            screen_targeted_success=self.on_screen.get("targeted"),
            screen_untargeted_success=self.on_screen.get("untargeted"),
            caution=self.caution,
            target=TargetClass.of(self.target),
        )

    def to_dict(self) -> dict[str, Any]:
        """Convert the results to the JSON values of ``physpatch evaluate --json``."""
        return self.to_record().to_dict()


def evaluate_patch(
    victim: Victim,
    photographs: Photographs,
    patch: Patch,
    *,
    area: float = PatchConfig.area,
    cut: str = PatchConfig.cut,
    eot: EotConfig | None = None,
    seed: int = 0,
    poses: int = 1,
    scope: str = "patch",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure a patch on held-out photographs at random poses, and harmless controls at the same poses.

    Args:
        victim: the network.
        photographs: held out from training, at the network's input size; a classifier needs their labels.
        patch: its target counts for targeted success, where the victim has such a class.
        area: share of the image that the patch covers.
        cut: what of its sheet is shown: see :class:`physpatch.records.config.PatchConfig`.
        eot: ranges of the poses and printing conditions; None for those that training has by default.
        seed: of the poses.
        poses: number for each photograph; several give steadier numbers where photographs are few.
        scope: where a detector must detect the target class: at the ``patch``, or anywhere in the ``image``.
        progress: called with the number of views measured and their total.

    Raises:
        InputError: no labelled photographs, or the network answers with something else than numbers.
    """
    placement = Placement.cut(cut, area, patch.grid)
    target = None if patch.target is None else victim.target_index(patch.target)
    patches = {c: patch if c == "patch" else patch.control(c) for c in CONDITIONS}
    scores: dict[str, list[Tensor]] = {"clean": []}
    aimed: dict[str, list[Tensor]] = {}
    labels: list[Tensor] = []
    units = photographs.units[usable(victim, photographs)].repeat(poses)
    clean = ForBare(lambda images: _scores(victim, images, None)[0].cpu())
    with untouched(victim), torch.no_grad():
        for scene in scenes(victim, photographs, placement, eot or EotConfig.preset(DEFAULT_PRESET), seed, poses):
            patch_boxes = None
            if scope == "patch" and target is not None:
                patch_boxes = placement.patch_boxes(scene.params, scene.images.shape[-1])
            scores["clean"].append(clean(scene))
            views = {name: scene.showing(cells) for name, cells in patches.items()}
            if scene.params.prints:
                views[_SCREEN] = scene.showing(patch, on_screen=True)
            for name, images in views.items():
                anywhere, at_patch = _scores(victim, images, patch_boxes)
                scores.setdefault(name, []).append(anywhere.cpu())
                aimed.setdefault(name, []).append(at_patch.cpu())
            labels.append(scene.labels)
            progress(sum(map(len, labels)), len(units))
    joined, joined_aimed = ({n: torch.cat(parts) for n, parts in batches.items()} for batches in (scores, aimed))
    _require_numbers(victim, joined)
    return _count(victim, joined, joined_aimed, torch.cat(labels), units, target, poses, patch.target)


def _scores(victim: Victim, images: Tensor, patch_boxes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute scores to judge, twice: by all of a detector's boxes, and by those centred in ``patch_boxes`` (B, 4)."""
    if not isinstance(victim, Detector):
        scores = victim.judged(victim.scores(images))
        return scores, scores
    predictions = victim.predictions(images)
    scores = victim.judged_boxes(predictions)
    if patch_boxes is None:
        return scores, scores
    return scores, victim.judged_boxes(predictions, patch_boxes, centred=True)


def _require_numbers(victim: Victim, scores: dict[str, Tensor]) -> None:
    """Check that some class comes first in each view, by the scores (V, K) under each condition: NaN would, whatever it means.

    Raises:
        InputError: there are scores that are not numbers.
    """
    for name, values in scores.items():
        odd = int(values.isnan().any(dim=1).sum())
        if odd:
            pictures = "clean photographs" if name == "clean" else f"views of {name}"
            raise InputError(
                f"{victim.name} answers {odd} of {len(values)} {pictures} with scores that are not numbers (NaN), so no class "
                "comes first; mend the model, or the precision that it runs in"
            )


def scenes(
    victim: Victim, photographs: Photographs, placement: Placement, eot: EotConfig, seed: int, poses: int = 1
) -> Iterator[Scene]:
    """Yield the held-out photographs in batches, with poses drawn by ``seed``; unlabelled ones only for detectors.

    All photographs come once, then once more for each further pose.

    Raises:
        InputError: a classifier, and no labelled photographs.
    """
    judged = usable(victim, photographs)
    if not judged.any():
        raise InputError(
            "no labelled photographs to measure on; give data with labels (labels.csv, or a folder per class)"
        )
    subset = photographs if judged.all() else photographs.subset(judged)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(poses):
        for number, rows in enumerate(torch.arange(len(subset)).split(_BATCH)):
            images = subset.images[rows].to(victim.device).float() / 255
            params = sample(eot, len(images), generator)
            boxes = subset.boxes[rows[0] : rows[-1] + 1]
            scene = Scene(images, subset.labels[rows], subset.units[rows], params, placement, boxes, number)
            yield replace(scene, params=placement.aimed(params, scene.objects, images.shape[-1]))


def usable(victim: Victim, photographs: Photographs) -> Tensor:
    """Select the photographs on which the victim's answer can be judged: (N,) bool."""
    everything = torch.ones(len(photographs), dtype=torch.bool)
    return photographs.labels != UNLABELLED if victim.task == "classify" else everything


def _count(
    victim: Victim,
    scores: dict[str, Tensor],
    aimed: dict[str, Tensor],
    labels: Tensor,
    units: Tensor,
    target: int | None,
    poses: int,
    target_record: dict[str, Any] | None,
) -> Evaluation:
    right = {name: _right(victim, values, scores, labels) for name, values in scores.items()}
    untargeted = {c: rate_over(~right[c], right["grey"], units) for c in CONDITIONS}
    targeted = {c: Rate(None, None, 0) for c in CONDITIONS}
    everything = torch.ones(len(labels), dtype=torch.bool)
    of_all: dict[str, Rate] = {}
    reached: dict[str, Tensor] = {}
    hits = fair = None
    on_screen = {"untargeted": rate_over(~right[_SCREEN], right["grey"], units)} if _SCREEN in right else {}
    if target is not None:
        objective: Objective = choose_objective(victim.task, target)
        reached = {c: objective.success(aimed[c], labels) for c in CONDITIONS}
        fair = right["grey"] & ~reached["grey"] & (labels != target)
        targeted = {c: rate_over(reached[c], fair, units) for c in CONDITIONS}
        of_all = {c: rate_over(reached[c], labels != target, units) for c in CONDITIONS}
        hits = reached["patch"]
        if on_screen:
            on_screen["targeted"] = rate_over(objective.success(aimed[_SCREEN], labels), fair, units)
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
        target=target_record,
        success=ViewSuccess(
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
        on_screen=on_screen,
    )


def _caution(victim: Victim, clean: Rate) -> str | None:
    """Warn where the clean accuracy exceeds the published one of these weights by more than chance."""
    published = victim.published_accuracy
    if published is None or clean.ci95 is None or clean.ci95[0] <= published:
        return None
    return (
        f"{victim.name} recognises {clean} of the clean photographs, but its published accuracy on ILSVRC's validation "
        f"photographs is {100 * published:.1f} %. It may have been trained on these photographs, and a patch may act "
        "differently on others; measure on your own validation photographs with --data"
    )


def defence_effect(bare: Evaluation, defended: Evaluation) -> DefenceEffect:
    """Compute a defence's effect on success, paired by photograph, and its cost in clean accuracy.

    Success is compared on views that count both with and without the defence. Both evaluations must have the same views.
    """
    before, after = bare.success, defended.success
    targeted = None
    if before.targeted is not None and after.targeted is not None:
        assert before.counts_for_target is not None and after.counts_for_target is not None
        fair = before.counts_for_target & after.counts_for_target
        targeted = change_over(before.targeted, after.targeted, fair, before.units)
    return DefenceEffect(
        clean_accuracy_paid=bare.clean_accuracy - defended.clean_accuracy,
        targeted_success_change=targeted,
        untargeted_success_change=change_over(before.wrong, after.wrong, before.right & after.right, before.units),
    )


def change_over(before: Tensor, after: Tensor, counted: Tensor, units: Tensor) -> Difference:
    """Compute the success (V,) after minus before among ``counted`` views (V,); see :func:`rate_over`."""
    return paired_difference(*(_shares(happened, counted, units) for happened in (after, before)))


def _right(victim: Victim, values: Tensor, scores: dict[str, Tensor], labels: Tensor) -> Tensor:
    if victim.task == "classify":
        return values.argmax(dim=1) == labels
    most_confident = scores["clean"].argmax(dim=1, keepdim=True)
    return values.gather(1, most_confident)[:, 0].sigmoid() >= DETECTION_THRESHOLD


def rate_over(success: Tensor, counted: Tensor, units: Tensor) -> Rate:
    """Estimate the share of successes (V,) among ``counted`` views (V,); ``units`` (V,) number their photographs."""
    if len(units.unique()) == len(units):
        return wilson(int((success & counted).sum()), int(counted.sum()))
    return clip_rate(_shares(success, counted, units))


def _shares(happened: Tensor, counted: Tensor, units: Tensor) -> list[float]:
    """Compute for each photograph with counted views in which share of them it happened."""
    return means_by_unit(happened[counted].cpu(), units[counted].cpu())
