"""The patch file."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from calibration.common.errors import InputError
from physpatch.records.patch_file import Patch, parse_grid


def test_saved_and_loaded_is_the_same(tmp_path: Path, patch: Patch) -> None:
    patch.save(tmp_path)
    again = Patch.load(tmp_path)
    np.testing.assert_array_equal(again.cells, patch.cells)
    assert (again.target, again.provenance, again.id) == (patch.target, patch.provenance, patch.id)
    record = json.loads((tmp_path / "patch.json").read_text())
    assert np.array(record["grid"]).shape == (10, 10, 3)


def test_the_png_holds_flat_squares(tmp_path: Path, patch: Patch) -> None:
    patch.save(tmp_path)
    with Image.open(tmp_path / "patch.png") as image:
        pixels = np.asarray(image)
    side = pixels.shape[0] // 10
    squares = pixels.reshape(10, side, 10, side, 3)
    np.testing.assert_array_equal(squares.min(axis=(1, 3)), patch.cells)
    np.testing.assert_array_equal(squares.max(axis=(1, 3)), patch.cells)


def test_a_notebook_sees_a_picture(patch: Patch) -> None:
    assert patch._repr_png_().startswith(b"\x89PNG")


def test_controls_are_harmless_and_reproducible(patch: Patch) -> None:
    grey, random, shuffled = (patch.control(kind) for kind in ("grey", "random", "shuffled"))
    assert np.unique(grey.cells).tolist() == [128]
    np.testing.assert_array_equal(random.cells, patch.control("random").cells)
    assert not np.array_equal(random.cells, patch.control("random", seed=1).cells)
    as_sorted = [sorted(map(tuple, p.cells.reshape(-1, 3).tolist())) for p in (patch, shuffled)]
    assert as_sorted[0] == as_sorted[1] and not np.array_equal(shuffled.cells, patch.cells)
    assert all(control.target is None for control in (grey, random, shuffled))
    with pytest.raises(InputError, match="unknown control 'pink'"):
        patch.control("pink")


@pytest.mark.parametrize(("text", "grid"), [("10x10", (10, 10)), ("5X8", (5, 8)), ("1x1", (1, 1))])
def test_grids_are_understood(text: str, grid: tuple[int, int]) -> None:
    assert parse_grid(text) == grid


@pytest.mark.parametrize("text", ["0x0", "10", "10x", "axb", "-1x5", "9999x2", "10x10x3"])
def test_other_grids_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"grid .*(not usable|not understood); expected ROWSxCOLUMNS"):
        parse_grid(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not valid JSON"),
        ('{"grid": [[[1, 2,', "is not valid JSON"),
        ("{}", "is not a patch file"),
        ("[]", "is not a patch file"),
        ('{"grid": [[[1, 2]]]}', "is not a patch file"),
        ('{"grid": [[[1, 2, 300]]]}', "whole numbers from 0 to 255"),
        ('{"grid": [[[0.5, 0.5, 0.5]]]}', "whole numbers from 0 to 255"),
        ('{"grid": [[[1, 2, 3]], []]}', "is not a patch file"),
        ('{"grid": []}', "is not a patch file"),
        ('{"grid": [[[1, 2, 3]]], "target": "French horn"}', "target must be null or an object"),
    ],
)
def test_broken_patch_files_are_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "patch.json").write_text(text)
    with pytest.raises(InputError, match=words):
        Patch.load(tmp_path)


@pytest.mark.parametrize(
    ("record", "cure"),
    [
        (None, "restore it from a backup$"),
        ("{", "restore it from a backup$"),
        ('{"imported": {"file": "theirs.png"}}', "or import the picture again to another --out$"),
        ('{"status": "finished"}', "or have it written again: `physpatch train --resume --out .*`$"),
    ],
)
def test_a_broken_patch_is_made_again_as_it_was_made(tmp_path: Path, record: str | None, cure: str) -> None:
    (tmp_path / "patch.json").write_text("{")
    if record is not None:
        (tmp_path / "run.json").write_text(record)
    with pytest.raises(InputError, match=cure):
        Patch.load(tmp_path)


def test_the_command_that_writes_a_patch_again_can_be_pasted(tmp_path: Path) -> None:
    run = tmp_path / "my run"
    run.mkdir()
    (run / "patch.json").write_text("{")
    (run / "run.json").write_text('{"status": "finished"}')
    with pytest.raises(InputError, match=r"--out '.*/my run'`$"):
        Patch.load(run)
