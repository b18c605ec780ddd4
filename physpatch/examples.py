"""Photographs that a person looks at: what the patch did to some of them, and where the network looked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physpatch.artifact import Patch
from physpatch.compose import place_patch
from physpatch.config import TrainConfig
from physpatch.data import Photographs
from physpatch.eot import sample
from physpatch.evaluate import Scene
from physpatch.explain import grad_cam, heat_share, heat_similarity
from physpatch.patch import cells_from_patch
from physpatch.pictures import heat_overlay
from physpatch.plots import Tile, save_panel
from physpatch.victims.base import Victim, untouched

_SHOWN_CONDITIONS = ("clean", "grey", "random", "patch")
_SHOWN = 4
_EOT_SHOWN = 16


@dataclass(frozen=True)
class _Seen:
    """A scene under each condition: images (B, 3, H, W), confidences (B, K), coverage (B, 1, H, W)."""

    images: dict[str, Tensor]
    confidences: dict[str, Tensor]
    coverage: Tensor

    def top(self, condition: str) -> Tensor:
        return self.confidences[condition].argmax(dim=1)


def save_pictures(folder: Path, victim: Victim, scene: Scene, patch: Patch) -> dict[str, Any]:
    """Write ``examples.png`` and ``gradcam.png`` into a run folder, and give the numbers behind the second.

    The examples are rows of one photograph each: clean, grey, random and the patch at one pose, with the network's answer
    above. They are the first photographs of the held-out set whose answer is right with the grey control: not chosen by
    what the patch does to them. The panels show Grad-CAM for some that stay right and some that are fooled.

    Returns:
        ``heat_in_patch``: mean share of heat inside the patch's area for the top class, by condition, over photographs
        that are right with the grey control; ``patch_area``: the share of the image that area is, what heat that
        ignores the patch would give; ``similarity_to_target``: mean correlation of the heat for the patched
        photograph's top class with the target class's own heat on the same photograph under the grey control, and
        ``similarity_of_clean``: the same for the clean photograph's top class. Each with its ``n``.
    """
    seen = _look(victim, scene, patch)
    fair = _fair(victim, seen, scene)
    heat = _heat(victim, seen, patch)
    rows = [[_tile(victim, seen, scene, c, i) for c in _SHOWN_CONDITIONS] for i in fair[:_SHOWN]]
    save_panel(folder / "examples.png", rows, headings=("clean", "grey control", "random control", "patch"))
    fooled = [i for i in fair if seen.top("patch")[i] != scene.labels[i]]
    steady = [i for i in fair if i not in fooled]
    chosen = steady[: _SHOWN // 2] + fooled[: _SHOWN // 2] or fair[:_SHOWN]
    _save_heat_panel(folder / "gradcam.png", victim, seen, scene, heat, chosen)
    return _heat_numbers(heat, seen.coverage[:, 0].cpu().numpy(), fair)


def measure_heat(victim: Victim, scene: Scene, patch: Patch) -> dict[str, Any]:
    """The numbers of :func:`save_pictures` without its pictures."""
    seen = _look(victim, scene, patch)
    return _heat_numbers(_heat(victim, seen, patch), seen.coverage[:, 0].cpu().numpy(), _fair(victim, seen, scene))


def _heat(victim: Victim, seen: _Seen, patch: Patch) -> dict[str, NDArray[np.float32]]:
    """Heat of the top class under each condition, and of the target class under the grey control: (B, H, W) each."""
    target = None if patch.target is None else victim.target_index(patch.target)
    with grad_cam(victim) as cam:
        heat = {c: cam(seen.images[c], seen.top(c).tolist()) for c in _SHOWN_CONDITIONS}
        if target is not None:
            heat["target"] = cam(seen.images["grey"], [target] * len(seen.coverage))
    return heat


def save_eot_samples(path: Path, victim: Victim, photographs: Photographs, patch: Patch, config: TrainConfig) -> None:
    """A panel of 16 draws of the run's transformations, each with the numbers that made it."""
    generator = torch.Generator().manual_seed(config.seed)
    chosen = torch.randint(len(photographs), (_EOT_SHOWN,), generator=generator)
    images = photographs.central(victim.preprocessing.size)[chosen].float() / 255
    params = sample(config.eot, _EOT_SHOWN, generator)
    composite, _ = place_patch(images, cells_from_patch(patch), params, config.area)
    pictures = (composite.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    tiles = [
        Tile(
            np.ascontiguousarray(picture),
            f"roll {params.roll_deg[i]:+.0f}° yaw {params.yaw_deg[i]:+.0f}° pitch {params.pitch_deg[i]:+.0f}°\n"
            f"gain {params.gain[i]:.2f}, shadow {params.shadow[i]:.2f}, glare {params.glare[i]:.2f}\n"
            f"blur {params.blur_px[i]:.1f} px, motion {params.motion_px[i]:.1f} px, JPEG {params.jpeg[i]:.0f}",
        )
        for i, picture in enumerate(pictures)
    ]
    save_panel(path, [tiles[i : i + 4] for i in range(0, _EOT_SHOWN, 4)])


def _heat_numbers(heat: dict[str, NDArray[np.float32]], mask: NDArray[np.float32], fair: list[int]) -> dict[str, Any]:
    if not fair:
        return {"n": 0}
    numbers: dict[str, Any] = {
        "n": len(fair),
        "patch_area": float(mask[fair].mean()),
        "heat_in_patch": {
            c: float(np.mean([heat_share(heat[c][i], mask[i]) for i in fair])) for c in _SHOWN_CONDITIONS
        },
    }
    if "target" in heat:
        for name, condition in (("similarity_to_target", "patch"), ("similarity_of_clean", "clean")):
            numbers[name] = float(np.mean([heat_similarity(heat[condition][i], heat["target"][i]) for i in fair]))
    return numbers


def _save_heat_panel(
    path: Path, victim: Victim, seen: _Seen, scene: Scene, heat: dict[str, NDArray[np.float32]], chosen: list[int]
) -> None:
    def row(i: int) -> list[Tile]:
        tiles = []
        for condition in ("clean", "patch"):
            tile = _tile(victim, seen, scene, condition, i)
            share = heat_share(heat[condition][i], seen.coverage[i, 0].cpu().numpy())
            caption = f"heat in the patch's area: {100 * share:.0f} %"
            tiles += [tile, Tile(heat_overlay(tile.picture, heat[condition][i]), caption)]
        return tiles

    headings = ("clean", "Grad-CAM of its answer", "with the patch", "Grad-CAM of its answer")
    save_panel(path, [row(i) for i in chosen], headings=headings)


def _look(victim: Victim, scene: Scene, patch: Patch) -> _Seen:
    images, coverage = {"clean": scene.images}, scene.images
    for name in ("grey", "random", "patch"):
        shown = patch if name == "patch" else patch.control(name)
        images[name], coverage = scene.showing(shown)
    with untouched(victim), torch.no_grad():
        confidences = {name: victim.confidences(victim.scores(batch)).cpu() for name, batch in images.items()}
    return _Seen(images, confidences, coverage)


def _fair(victim: Victim, seen: _Seen, scene: Scene) -> list[int]:
    """The photographs that count: right with the grey control; for a detector, whose answer is no one class, all."""
    if victim.task == "detect":
        return list(range(len(scene.labels)))
    return (seen.top("grey") == scene.labels).nonzero()[:, 0].tolist()


def _tile(victim: Victim, seen: _Seen, scene: Scene, condition: str, i: int) -> Tile:
    top, confidence = int(seen.top(condition)[i]), float(seen.confidences[condition][i].max())
    picture = (seen.images[condition][i].permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
    wrong = victim.task == "classify" and top != int(scene.labels[i])
    return Tile(np.ascontiguousarray(picture), f"{victim.categories[top]} {100 * confidence:.0f} %", wrong)
