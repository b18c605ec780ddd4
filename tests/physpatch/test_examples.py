"""What pictures and heat maps of held-out photographs say of a patch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from calibration.common.errors import PhyspatchError
from physpatch.attack.placement import Placement
from physpatch.data.photographs import Photographs
from physpatch.evaluation.classification import Scene, scenes
from physpatch.evaluation.figures import plots
from physpatch.evaluation.figures.examples import measure_heat, save_pictures
from physpatch.evaluation.figures.pictures import VideoFile
from physpatch.evaluation.figures.plots import Tile, save_panel
from physpatch.evaluation.grad_cam import grad_cam, heat_similarity
from physpatch.records.eot_config import EotConfig
from physpatch.records.patch_file import Patch
from physpatch.stats.intervals import mean_interval, wilson
from physpatch.victims.protocol import Victim

CONDITIONS = {"clean", "grey", "random", "patch"}
BLUE = Patch(np.full((4, 4, 3), (0, 0, 255), np.uint8), {"index": 2, "name": "blue thing"})


def views(victim: Victim, photographs: Photographs) -> list[Scene]:
    return list(scenes(victim, photographs, Placement(0.4), EotConfig(), seed=0))


@pytest.fixture
def heat(tiny_victim, held_out) -> dict[str, Any]:
    """Of a blue patch that makes some of the photographs blue: two scenes, of 32 and of 8."""
    return measure_heat(tiny_victim, views(tiny_victim, held_out), BLUE)


def test_every_mean_has_its_interval_around_it(heat) -> None:
    assert set(heat["heat_in_patch"]) == set(heat["pointing"]) == CONDITIONS
    assert set(heat["deletion"]) == {"patch", "random_order", "clean", "clean_random_order"}
    assert {key for key in heat if not key.startswith("n") and key != "ci95"} == set(heat["ci95"])

    def check(means: dict[str, Any], intervals: dict[str, Any]) -> None:
        for key, (low, high) in ((k, v) for k, v in intervals.items() if not isinstance(v, dict)):
            assert -1 <= low <= means[key] <= high <= 1, key
        for key in (k for k, v in intervals.items() if isinstance(v, dict)):
            assert set(means[key]) == set(intervals[key])
            check(means[key], intervals[key])

    check(heat, heat["ci95"])


def test_the_numbers_as_they_are_defined(tiny_victim, held_out, heat) -> None:
    inside, aimed_inside, pointing, similar, reached = [], [], [], [], []
    for scene in views(tiny_victim, held_out):
        grey, patched, coverage = scene.showing(BLUE.control("grey")), scene.showing(BLUE), scene.coverage(BLUE)
        before, after = (tiny_victim.scores(images).argmax(dim=1) for images in (grey, patched))
        with grad_cam(tiny_victim) as cam:
            hot, aimed, found = cam(patched, after.tolist()), cam(grey, [2] * len(grey)), cam(patched, [2] * len(grey))
        for i in (before == scene.labels).nonzero()[:, 0].tolist():
            mask = coverage[i, 0].numpy()
            inside.append((hot[i] * mask).sum() / hot[i].sum())
            aimed_inside.append((found[i] * mask).sum() / found[i].sum())
            pointing.append(bool(mask[np.unravel_index(hot[i].argmax(), mask.shape)] > 0.5))
            similar.append(heat_similarity(hot[i], aimed[i]))
            reached.append(None if scene.labels[i] == 2 else bool(after[i] == 2))
    assert heat["n"] == len(inside) and reached.count(None) > 0
    assert heat["heat_in_patch"]["patch"] == pytest.approx(np.mean(inside))
    assert heat["target_heat_in_patch"]["patch"] == pytest.approx(np.mean(aimed_inside)) != np.mean(inside)
    assert heat["ci95"]["heat_in_patch"]["patch"] == pytest.approx(mean_interval(inside)[1])
    assert heat["pointing"]["patch"] == np.mean(pointing)
    assert heat["ci95"]["pointing"]["patch"] == wilson(sum(pointing), len(pointing)).ci95
    assert heat["similarity_to_target"] == pytest.approx(np.mean(similar))
    for outcome, known in (("reached", True), ("missed", False)):
        chosen = [s for s, r in zip(similar, reached, strict=True) if r is known]
        assert heat[f"n_{outcome}"] == len(chosen) > 1
        assert heat[f"similarity_to_target_{outcome}"] == pytest.approx(np.mean(chosen))
    gap = heat["deletion"]["random_order"] - heat["deletion"]["patch"]
    assert heat["deletion_gap"]["patch"] == pytest.approx(gap, abs=1e-6)  # a difference of means of float32


def test_the_same_again_and_the_victim_as_it_was(tiny_victim, held_out, heat) -> None:
    assert measure_heat(tiny_victim, views(tiny_victim, held_out), BLUE) == heat
    assert all(p.grad is None and not p.requires_grad for p in tiny_victim.module.parameters())
    assert not any(m._forward_hooks or m._backward_hooks for m in tiny_victim.module.modules())


def test_an_outcome_that_never_came_and_a_target_that_is_not_there_are_left_out(tiny_victim, held_out) -> None:
    invisible = replace(BLUE, cells=BLUE.control("grey").cells)
    missed = measure_heat(tiny_victim, views(tiny_victim, held_out), invisible)
    assert missed["n_reached"] == 0 and "similarity_to_target_reached" not in missed | missed["ci95"]
    assert missed["n_missed"] > 0 and "similarity_to_target_missed" in missed
    untargeted = measure_heat(tiny_victim, views(tiny_victim, held_out), replace(BLUE, target=None))
    words = ("similarity", "target", "n_")
    assert not any(key.startswith(words) for key in untargeted | untargeted["ci95"])
    assert untargeted["heat_in_patch"].keys() == CONDITIONS


def test_scenes_without_a_photograph_that_counts(tiny_victim, held_out, heat, tmp_path: Path) -> None:
    never = Photographs(held_out.images, (held_out.labels + 1) % 3, held_out.names)
    assert measure_heat(tiny_victim, views(tiny_victim, never), BLUE) == {"n": 0}
    both = [*views(tiny_victim, never), *views(tiny_victim, held_out)]
    assert measure_heat(tiny_victim, both, BLUE) == heat
    assert save_pictures(tmp_path, tiny_victim, views(tiny_victim, never)[0], BLUE) == {"n": 0}
    assert (tmp_path / "examples.png").is_file() and (tmp_path / "gradcam.png").is_file()


def test_one_photograph_has_no_interval(tiny_victim, held_out) -> None:
    few = Photographs(held_out.images[1:2], held_out.labels[1:2], held_out.names[1:2])
    one = measure_heat(tiny_victim, views(tiny_victim, few), BLUE)
    assert one["n"] == 1 and one["ci95"]["heat_in_patch"]["patch"] is None and 0 < one["heat_in_patch"]["patch"] < 1


def test_a_clip_counts_as_much_as_another_whatever_its_frames(tiny_victim, held_out) -> None:
    clips = [
        replace(scene, units=torch.full_like(scene.units, i)) for i, scene in enumerate(views(tiny_victim, held_out))
    ]
    shares = [measure_heat(tiny_victim, [clip], BLUE)["heat_in_patch"]["patch"] for clip in clips]
    joined = measure_heat(tiny_victim, clips, BLUE)
    assert joined["n"] == 2 and len(clips[0].labels) > 3 * len(clips[1].labels)
    assert joined["heat_in_patch"]["patch"] == pytest.approx(np.mean(shares)) and shares[0] != shares[1]


def test_pictures_give_the_same_numbers_without_the_deletion_test(tiny_victim, held_out, tmp_path: Path) -> None:
    first = views(tiny_victim, held_out)[:1]
    numbers, measured = save_pictures(tmp_path, tiny_victim, first[0], BLUE), measure_heat(tiny_victim, first, BLUE)
    for part in (measured, measured["ci95"]):
        del part["deletion"], part["deletion_gap"]
    assert numbers == measured and numbers["n"] > 10


def test_a_video_that_a_full_disk_ends_is_closed(tmp_path: Path, monkeypatch) -> None:
    closed: list[bool] = []

    def full(packets: object) -> None:
        raise OSError(28, "No space left on device")

    class Full:
        mux = staticmethod(full)

        def close(self) -> None:
            closed.append(True)
            raise OSError(28, "No space left on device")

    with (
        pytest.raises(PhyspatchError, match=r"cannot be written any further .*No space left"),
        VideoFile(tmp_path / "video.mp4", (32, 32), 15) as video,
    ):
        video.add(np.zeros((32, 32, 3), np.uint8))
        monkeypatch.setattr(video, "_file", Full())
    assert closed


def test_names_with_dollar_signs_are_written_as_they_are(tmp_path: Path) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    save_panel(tmp_path / "panel.png", [[Tile(picture, "$^$ 97 %")]])
    assert (tmp_path / "panel.png").stat().st_size


def test_likeness_has_its_null_and_the_true_class_its_own_heat(tiny_victim, held_out, heat) -> None:
    """Maps of one class on one photograph are alike in any case: random cells, which bring nothing, say how much."""
    null, same, true_random, inside = [], [], [], []
    for scene in views(tiny_victim, held_out):
        shown = {c: scene.showing(BLUE if c == "patch" else BLUE.control(c)) for c in ("grey", "random", "patch")}
        before, coverage = tiny_victim.scores(shown["grey"]).argmax(dim=1), scene.coverage(BLUE)
        with grad_cam(tiny_victim) as cam:
            aimed = {c: cam(images, [2] * len(images)) for c, images in shown.items()}
            true = {c: cam(images, scene.labels.tolist()) for c, images in shown.items()}
        for i in (before == scene.labels).nonzero()[:, 0].tolist():
            null.append(heat_similarity(aimed["random"][i], aimed["grey"][i]))
            same.append(heat_similarity(aimed["patch"][i], aimed["grey"][i]))
            true_random.append(heat_similarity(true["random"][i], true["grey"][i]))
            mask = coverage[i, 0].numpy()
            inside.append((true["patch"][i] * mask).sum() / true["patch"][i].sum())
    assert heat["similarity_to_target_null"] == pytest.approx(np.mean(null), abs=1e-5)
    assert heat["similarity_to_target_same_class"] == pytest.approx(np.mean(same), abs=1e-5)
    assert heat["true_similarity"]["random"] == pytest.approx(np.mean(true_random), abs=1e-5)
    assert heat["true_heat_in_patch"]["patch"] == pytest.approx(np.nanmean(inside), abs=1e-4)
    assert set(heat["true_heat_in_patch"]) == {"grey", "random", "patch"}
    assert "n_null" not in heat and heat["n_reached"] > 0


def test_the_loss_plot_shows_each_start_by_itself(tmp_path: Path, monkeypatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, _: figures.append(figure))
    rows = [{"step": step, "loss": float(30 - step % 10), "success": 0.5} for step in range(1, 31)]
    plots.save_loss_plot(tmp_path / "loss.png", rows, [10, 20, 30])
    left, _ = figures[0].axes
    marks = [line.get_xdata()[0] for line in left.get_lines() if line.get_linestyle() == ":"]
    means = [line for line in left.get_lines() if line.get_label() == "loss (running mean)"]
    assert marks == [10.5, 20.5]  # nothing goes on after the last start
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in means] == [(1, 29.0), (11, 29.0), (21, 29.0)]
