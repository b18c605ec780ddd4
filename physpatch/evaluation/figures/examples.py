"""Example pictures: the patch in some photographs, and the Grad-CAM heat of the answers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physpatch.attack.placement import Placement, object_class
from physpatch.data.photographs import Photographs
from physpatch.evaluation.classification import Scene
from physpatch.evaluation.figures.pictures import heat_overlay
from physpatch.evaluation.figures.plots import Tile, save_panel
from physpatch.evaluation.grad_cam import (
    deletion_auc,
    grad_cam,
    heat_share,
    heat_similarity,
    points_inside,
    random_heat,
    scores_about,
)
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch
from physpatch.rendering.cells import cells_from_patch
from physpatch.rendering.eot import EotParams, sample
from physpatch.stats.intervals import Interval, mean_interval, means_by_unit, rate_by_unit
from physpatch.transforms.kernels.print_colour import selected
from physpatch.victims.freezing import untouched
from physpatch.victims.protocol import Victim

_SHOWN_CONDITIONS = ("clean", "grey", "random", "patch")
_COMPARED_CONDITIONS = ("grey", "random", "patch")
_SHOWN = 4
_EOT_SHOWN = 16
_ORDER_SEED = 0
_SIGNED = ("similarity", "true_similarity", "deletion_gap")  # in [-1, 1]; all others are in [0, 1]

# One number per image, under the path at which their mean is reported; NaN where it is not defined. Booleans become shares.
_Values = dict[tuple[str, ...], NDArray[Any]]


@dataclass(frozen=True)
class _Views:
    """Photographs that count, by condition: those right with the grey control, or all for a detector without objects.

    Images are (B, 3, H, W), confidences (B, K), masks of the patch's area (B, H, W) in [0, 1], labels (B,), units (B,), which
    are equal for images of one photograph or clip. For a patch on an object, the confidences are those of a detector's boxes on
    it, ``about`` (B, 4), and the labels are its class.
    """

    images: dict[str, Tensor]
    confidences: dict[str, Tensor]
    mask: NDArray[np.float32]
    labels: Tensor
    units: NDArray[np.int64]
    target: int | None
    about: Tensor | None = None
    least: float = 0.0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def truth_is_known(self) -> bool:
        """Tell whether the labels are classes of the victim; a detector without objects has none."""
        return bool((self.labels >= 0).all())

    def top(self, condition: str) -> Tensor:
        return self.confidences[condition].argmax(dim=1)

    def reaches(self, condition: str, classes: Tensor | int) -> Tensor:
        """Tell where the answer is this class, with sufficient confidence."""
        return _answers(self.confidences[condition], classes, self.least)

    def right(self, condition: str) -> Tensor:
        """Tell where the answer is the true class, with sufficient confidence."""
        return self.reaches(condition, self.labels)


def save_pictures(folder: Path, victim: Victim, scene: Scene, patch: Patch) -> dict[str, Any]:
    """Write ``examples.png`` and ``gradcam.png`` into a run folder, and return the numbers behind the second.

    Each row of the examples is one photograph: clean, and with grey, random cells and the patch in one pose, under the
    network's answers. They are the first held-out photographs that are right with the grey control, so they are not chosen
    by the patch's effect. The Grad-CAM panel has some that stay right and some that fool the network.

    Returns:
        The result of :func:`measure_heat` without the deletion test, which would take longest.

    A victim without heat has no second panel.
    """
    views = _look(victim, scene, patch)
    heat = _heat(victim, views) if len(views) and victim.explains else {}
    rows = [[_tile(victim, views, c, i) for c in _SHOWN_CONDITIONS] for i in range(len(views))[:_SHOWN]]
    save_panel(folder / "examples.png", rows, headings=("clean", "grey control", "random control", "patch"))
    steady = views.right("patch")
    chosen = [i for kind in (steady, ~steady) for i in kind.nonzero()[: _SHOWN // 2, 0].tolist()]
    if victim.explains:
        _save_heat_panel(folder / "gradcam.png", victim, views, heat, chosen)
    return _heat_numbers([(_heat_values(views, heat), views.units)] if heat else [])


def measure_heat(victim: Victim, scenes: Iterable[Scene], patch: Patch) -> dict[str, Any]:
    r"""Measure where the heat lies and whether answers depend on it, over photographs that are right with the grey control.

    Returns:
        Means over photographs, or over clips for frames of clips, and under ``ci95`` their intervals, by the same keys.
        Conditions are clean, grey, random, patch.

        - ``n``: number of photographs or clips.
        - ``patch_area``: the patch's share of the image, which is the expected share of heat that ignores the patch.
        - ``heat_in_patch`` by condition: share of the answer's heat inside the patch's area.
        - ``pointing`` by condition: share of photographs whose hottest pixel lies there.
        - ``target_heat_in_patch`` for grey and patch: share of the target class's heat there, whatever the answer is.
        - ``similarity_to_target``: correlation of the heat of the patched photograph's answer with that of the target class
          on the same photograph with the grey control; ``similarity_of_clean``: the same for the clean photograph's answer.
          ``similarity_to_target_reached`` and ``_missed``: the same where the patch did and did not make the target the
          answer, over the ``n_reached`` and ``n_missed`` photographs where the grey control did not. Where it was reached,
          both maps are of the target class on one photograph, so they are similar in any case.
        - ``similarity_to_target_null`` measures that: the target class's heat with random cells, compared with grey.
          ``similarity_to_target_same_class`` is the same for the patch.
        - ``true_heat_in_patch`` for grey, random and patch: share of the *true* class's heat inside the patch's area;
          ``true_similarity`` for random and patch: the correlation of that heat with the one with grey.
        - ``deletion``: area under the deletion curve of the answer on ``patch``\ ed and ``clean`` photographs by heat, and
          in ``random_order`` and ``clean_random_order``; ``deletion_gap``: how much lower it is by heat.
    """
    generator = torch.Generator().manual_seed(_ORDER_SEED)
    batches = []
    for scene in scenes if victim.explains else ():
        if len(views := _look(victim, scene, patch)):
            heat = _heat(victim, views)
            values = _heat_values(views, heat) | _deletion_values(victim, views, heat, generator)
            batches.append((values, views.units))
    return _heat_numbers(batches)


def _print_words(params: EotParams, image: int) -> str:
    """Name the printing condition under which an image shows the patch; of two that are mixed, the larger one."""
    names = [getattr(colours, "name", "measured colours") for colours in params.prints]
    if not names:
        return "colours of a screen"
    first, second = (names[int(selected(params[key], len(names))[image])] for key in ("light", "print_other"))
    share = float(params.print_mix[image])
    mixed = first != second and share != 0
    return f"mostly {first if share < 0.5 else second}" if mixed else first


def save_eot_samples(path: Path, victim: Victim, photographs: Photographs, patch: Patch, config: TrainConfig) -> None:
    """Draw a panel of 16 samples of the run's transformations, each with its parameters."""
    generator = torch.Generator().manual_seed(config.optimisation.seed)
    chosen = torch.randint(len(photographs), (_EOT_SHOWN,), generator=generator)
    size, placement, objects = victim.preprocessing.size, Placement.of(config), photographs.objects
    images = photographs.central(size)[chosen].float() / 255
    params = placement.aimed(
        sample(config.eot, _EOT_SHOWN, generator), None if objects is None else objects[chosen], size
    )
    composite = placement.compose(images, cells_from_patch(patch), params)
    pictures = (composite.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    tiles = [
        Tile(
            np.ascontiguousarray(picture),
            f"roll {params.roll_deg[i]:+.0f}° yaw {params.yaw_deg[i]:+.0f}° pitch {params.pitch_deg[i]:+.0f}°\n"
            f"gain {params.gain[i]:.2f}, shadow {params.shadow[i]:.2f}, glare {params.glare[i]:.2f}\n"
            f"blur {params.blur_px[i]:.1f} px, motion {params.motion_px[i]:.1f} px, JPEG {params.jpeg[i]:.0f}\n"
            f"{_print_words(params, i)}",
        )
        for i, picture in enumerate(pictures)
    ]
    save_panel(path, [tiles[i : i + 4] for i in range(0, _EOT_SHOWN, 4)])


def _look(victim: Victim, scene: Scene, patch: Patch) -> _Views:
    images, coverage = {"clean": scene.bare}, scene.coverage(patch)
    for name in ("grey", "random", "patch"):
        images[name] = scene.showing(patch if name == "patch" else patch.control(name))
    labels, objects = scene.labels, scene.objects
    if scene.placement.object is not None:
        labels = torch.full_like(labels, object_class(victim, scene.placement.object))
    with untouched(victim), torch.no_grad():
        confidences = {
            name: victim.confidences(scores_about(victim, batch, objects)).cpu() for name, batch in images.items()
        }
    fair = torch.ones(len(labels), dtype=torch.bool)  # a detector's answer is not a single class
    if victim.task == "classify" or objects is not None:
        fair = _answers(confidences["grey"], labels, victim.threshold)
    return _Views(
        {name: batch[fair] for name, batch in images.items()},
        {name: values[fair] for name, values in confidences.items()},
        coverage[fair, 0].cpu().numpy(),
        labels[fair],
        scene.units[fair].numpy(),
        None if patch.target is None else victim.target_index(patch.target),
        None if objects is None else objects[fair],
        victim.threshold,
    )


def _answers(confidences: Tensor, classes: Tensor | int, least: float) -> Tensor:
    best, top = confidences.max(dim=1)
    return (top == classes) & (best >= least)


def _heat(victim: Victim, views: _Views) -> dict[str, NDArray[np.float32]]:
    """Compute the heat of the answer under each condition, and of the target and true class with patch and controls."""
    with grad_cam(victim) as cam:
        # With the grey control the answer is the true class, whose heat is not computed twice.
        of = cache(lambda condition, classes: cam(views.images[condition], list(classes), views.about))
        heat = {c: of(c, tuple(views.top(c).tolist())) for c in _SHOWN_CONDITIONS}
        if views.target is not None:
            aimed = (views.target,) * len(views)
            heat |= {f"target {c}": of(c, aimed) for c in _COMPARED_CONDITIONS}
        if views.truth_is_known:
            true = tuple(views.labels.tolist())
            heat |= {f"true {c}": of(c, true) for c in _COMPARED_CONDITIONS}
    return heat


def _heat_values(views: _Views, heat: dict[str, NDArray[np.float32]]) -> _Values:
    values: _Values = {("patch_area",): views.mask.mean(axis=(1, 2), dtype=np.float64)}
    for c in _SHOWN_CONDITIONS:
        values["heat_in_patch", c] = np.array(list(map(heat_share, heat[c], views.mask)))
        values["pointing", c] = np.array(list(map(points_inside, heat[c], views.mask)))
    if views.target is not None:
        for c in ("grey", "patch"):
            values["target_heat_in_patch", c] = np.array(list(map(heat_share, heat[f"target {c}"], views.mask)))
        similarity = np.array(list(map(heat_similarity, heat["patch"], heat["target grey"])))
        reached = views.reaches("patch", views.target).numpy()
        tried = ~views.reaches("grey", views.target).numpy()
        values["similarity_to_target",] = similarity
        for name, c in (("similarity_to_target_null", "random"), ("similarity_to_target_same_class", "patch")):
            values[name,] = _similarities(heat[f"target {c}"], heat["target grey"])
        values["similarity_to_target_reached",] = np.where(tried & reached, similarity, np.nan)
        values["similarity_to_target_missed",] = np.where(tried & ~reached, similarity, np.nan)
        values["similarity_of_clean",] = _similarities(heat["clean"], heat["target grey"])
    if views.truth_is_known:
        for c in _COMPARED_CONDITIONS:
            values["true_heat_in_patch", c] = np.array(list(map(heat_share, heat[f"true {c}"], views.mask)))
        for c in ("random", "patch"):
            values["true_similarity", c] = _similarities(heat[f"true {c}"], heat["true grey"])
    return values


def _similarities(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.array(list(map(heat_similarity, first, second)))


def _deletion_values(
    victim: Victim, views: _Views, heat: dict[str, NDArray[np.float32]], generator: torch.Generator
) -> _Values:
    values: _Values = {}
    baseline = random_heat(views.mask.shape, generator)
    for condition, control in (("patch", "random_order"), ("clean", "clean_random_order")):
        images, answer = views.images[condition], views.top(condition)
        by_heat, at_random = (
            deletion_auc(victim, images, h, answer, views.about).numpy() for h in (heat[condition], baseline)
        )
        values["deletion", condition], values["deletion", control] = by_heat, at_random
        values["deletion_gap", condition] = at_random - by_heat
    return values


def _heat_numbers(batches: Sequence[tuple[_Values, NDArray[np.int64]]]) -> dict[str, Any]:
    """Compute means and intervals of the values of all images, each batch with the units of its images."""
    if not batches:
        return {"n": 0}
    units = np.concatenate([of_batch for _, of_batch in batches])
    numbers: dict[str, Any] = {"n": len(np.unique(units)), "ci95": {}}
    for path in batches[0][0]:
        values = np.concatenate([batch[path] for batch, _ in batches])
        defined = ~np.isnan(values)
        outcome = path[0].removeprefix("similarity_to_target_")
        if outcome in ("reached", "missed"):
            numbers[f"n_{outcome}"] = len(np.unique(units[defined]))
        if defined.any():
            lowest = -1.0 if path[0].startswith(_SIGNED) else 0.0
            _put(numbers, path, fmean(means_by_unit(values[defined], units[defined])))
            _put(numbers["ci95"], path, _interval(values[defined], units[defined], lowest))
    return numbers


def _interval(values: NDArray[Any], units: NDArray[np.int64], lowest: float) -> Interval | None:
    if values.dtype == bool:
        return rate_by_unit(values, units).ci95
    estimate = mean_interval(means_by_unit(values, units))
    return estimate and (max(lowest, estimate[1][0]), min(1.0, estimate[1][1]))


def _put(tree: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def _save_heat_panel(
    path: Path, victim: Victim, views: _Views, heat: dict[str, NDArray[np.float32]], chosen: Sequence[int]
) -> None:
    def row(i: int) -> list[Tile]:
        tiles = []
        for condition in ("clean", "patch"):
            tile = _tile(victim, views, condition, i)
            share = heat_share(heat[condition][i], views.mask[i])
            caption = f"heat in the patch's area: {100 * share:.0f} %"
            tiles += [tile, Tile(heat_overlay(tile.picture, heat[condition][i]), caption)]
        return tiles

    headings = ("clean", "Grad-CAM of its answer", "with the patch", "Grad-CAM of its answer")
    save_panel(path, [row(i) for i in chosen], headings=headings)


def _tile(victim: Victim, views: _Views, condition: str, i: int) -> Tile:
    top, confidence = int(views.top(condition)[i]), float(views.confidences[condition][i].max())
    picture = (views.images[condition][i].permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
    words = f"{victim.categories[top]} {100 * confidence:.0f} %"
    judged = victim.task == "classify" or views.about is not None
    if judged and confidence < views.least:
        words = f"{'not sure' if victim.task == 'classify' else 'not detected'} ({words})"
    return Tile(np.ascontiguousarray(picture), words, judged and not bool(views.right(condition)[i]))
