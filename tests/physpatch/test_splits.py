"""A photograph is on one side of the split for ever: whatever the folder, the list, the seed, the task."""

from dataclasses import replace
from pathlib import Path
from shutil import copy

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from calibration.common.errors import InputError
from physpatch.data.photographs import list_photos, load_photographs, split, split_photos
from physpatch.data.splits import content_id, detector_parts, is_held_out, position, refuse_overlap
from physpatch.records.config import TrainConfig
from physpatch.training.run import held_out_files, held_out_photographs, train_run
from physpatch.victims.families.signs.network import WEIGHTS, learned_from
from physpatch.victims.labels import imagenet_categories


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Sixty small pictures of noise."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / "photographs" / f"{i:02d}.png" for i in range(60)]
    paths[0].parent.mkdir()
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    return paths


def test_a_position_is_the_contents_alone(photographs: list[Path], tmp_path: Path) -> None:
    twin = tmp_path / "elsewhere.jpg"
    copy(photographs[3], twin)
    assert content_id(twin) == content_id(photographs[3]) and len(content_id(twin)) == 16
    places = [position(path) for path in photographs]
    assert len(set(places)) == 60 and all(0 <= at < 1 for at in places)
    assert 0.25 < np.mean([is_held_out(path, 0.5) for path in photographs]) < 0.75
    held_out = [{path for path in photographs if is_held_out(path, share)} for share in (0.2, 0.5, 0.8)]
    assert held_out[0] < held_out[1] < held_out[2]
    Image.new("RGB", (9, 9)).save(photographs[3])  # another picture under the old name is another photograph
    assert content_id(photographs[3]) != content_id(twin)
    with pytest.raises(InputError, match="no image"):
        content_id(tmp_path / "gone.png")


def test_no_photograph_changes_sides_between_lists_seeds_and_tasks(photographs: list[Path], tiny_victim) -> None:
    """Before, another list, seed or task shuffled anew: what one run trained on, another measurement held out."""
    folder = photographs[0].parent
    detector = replace(tiny_victim, task="detect")
    learned, measured = set(), set()
    for seed in (0, 1):
        for limit in (20, 60):
            for victim in (tiny_victim, detector):
                train, held_out = split_photos(str(folder), victim, seed=seed, limit=limit)
                learned |= {photo.path for photo in train}
                measured |= {photo.path for photo in held_out}
    assert learned and measured and not learned & measured


def test_a_classifiers_run_holds_out_for_a_detector_too() -> None:
    """Unlabelled photographs of ``samples`` were all trained on by a classifier, and half of them measured on by a detector."""
    photos = list_photos("samples", imagenet_categories())
    trained = {photo.path for photo in split(photos, 0.5)[0]}
    seen_by_detector = list_photos("samples", None)
    measured = {photo.path for photo in split(seen_by_detector, 0.5, by_label=False)[1]}
    assert len(trained) >= 10 and len(measured) >= 10 and not trained & measured


def test_overlap_is_refused_by_name_and_number(photographs: list[Path]) -> None:
    learned = {content_id(path) for path in photographs[:5]}
    refuse_overlap(photographs[5:], learned, "this run", "measure on others")
    with pytest.raises(
        InputError,
        match=r"this run was trained on 2 of the 4 photographs to measure on, such as 03\.png; measure on others",
    ):
        refuse_overlap([*photographs[3:7], photographs[3]], learned, "this run", "measure on others")


def test_a_run_refuses_its_training_photographs_wherever_they_lie(
    photographs: list[Path], tiny_victim, tmp_path: Path, monkeypatch
) -> None:
    from physpatch.training import run as runs

    data, other = tmp_path / "data", tmp_path / "other"
    for number, path in enumerate(photographs):
        for folder in (data, other):
            (folder / tiny_victim.categories[number % 3]).mkdir(parents=True, exist_ok=True)
            copy(path, folder / tiny_victim.categories[number % 3] / f"{folder.name}-{path.name}")
    monkeypatch.setattr(runs, "load_victim", lambda *_, **__: tiny_victim)
    config = TrainConfig.of(steps=1, batch=2, area=0.3, grid=(4, 4), target="none", model="tiny", data=str(data))
    run = train_run(config, tmp_path / "run", say=lambda _: None)
    assert run is not None
    with pytest.raises(
        InputError, match=r"this run was trained on \d+ of the \d+ photographs to measure on, .*; measure on others"
    ):
        held_out_photographs(run, config, str(other), tiny_victim)
    with pytest.raises(InputError, match="this run was trained on"):
        held_out_photographs(run / "patch.json", config, str(other), tiny_victim)
    kept = held_out_photographs(run, config, None, tiny_victim)
    for path in other.rglob("*.png"):
        if content_id(path) not in kept.contents:
            path.unlink()
    assert sorted(held_out_photographs(run, config, str(other), tiny_victim).contents) == sorted(kept.contents)
    # A photograph that is added later is on the side where it would have been from the start.
    before = {path.name for path, _ in held_out_files(run, config, tiny_victim)}
    Image.new("RGB", (40, 40), "red").save(data / tiny_victim.categories[0] / "new.png")
    assert {path.name for path, _ in held_out_files(run, config, tiny_victim)} - before <= {"new.png"}


def test_a_victims_own_training_photographs_are_refused(photographs: list[Path], tiny_victim) -> None:
    folder = str(photographs[0].parent)
    detector = replace(tiny_victim, task="detect")
    mine = next(path for path in photographs if 0.5 <= position(path) < 0.8)
    learned = replace(detector, learned_from=frozenset({content_id(mine)}))
    load_photographs(folder, learned)
    with pytest.raises(InputError, match=r"the network tiny was trained on .*; hold out at most 0\.5"):
        load_photographs(folder, learned, held_out=0.8)


def test_the_detectors_three_parts_are_disjoint_and_its_test_part_is_what_runs_hold_out(
    photographs: list[Path],
) -> None:
    parts = detector_parts(photographs)
    assert sum(map(len, parts)) == 60 and len({*parts.train, *parts.watched, *parts.test}) == 60
    assert parts.test == [path for path in photographs if is_held_out(path, 0.5)]


def test_the_embedded_detector_tells_what_it_learned_from() -> None:
    learned = learned_from()
    assert len(learned) > 200 and all(int(name, 16) / 16**16 >= 0.5 for name in learned)
    with safe_open(WEIGHTS, "pt") as weights:
        assert "physpatch_signs" in weights.metadata()
    assert learned_from(Path(__file__)) == frozenset()  # no weights, no word
