"""Patches made elsewhere become runs that claim no training; patches made here leave in others' formats."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import save_program
from PIL import Image
from safetensors.torch import save_file
from support import (
    CATEGORIES,
    HELPERS,
    ColourNet,
    assert_follows_schema,
    make_tiny_victim,
    save_squares,
    vivid_patch,
)

from calibration.common.errors import InputError
from physpatch.records.config import TrainConfig
from physpatch.records.eot_config import EotConfig
from physpatch.records.imported_run import save_results
from physpatch.records.patch_exchange import enlarged, read_pixels, to_cells, write_art, write_png, write_tensor
from physpatch.records.patch_file import Patch
from physpatch.records.run_config import load_run_config
from physpatch.records.run_record import RunRecord
from physpatch.training.run import weights_record

CELLS = vivid_patch().cells


class Witness:
    """A pickle that leaves a file behind when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


def save_as(path: Path) -> Path:
    """Save the cells, one per pixel, in the format of a name."""
    name, floats = path.name, CELLS.astype(np.float32) / 255
    first = np.ascontiguousarray(floats.transpose(2, 0, 1))
    if name.endswith(".png"):
        Image.fromarray(CELLS).save(path)
    elif name == "last.npy":
        np.save(path, floats)
    elif name == "first.npy":
        np.save(path, first)
    elif name == "bytes.npy":
        np.save(path, CELLS)
    elif name == "to255.npy":
        np.save(path, first[None] * 255)
    elif name == "plain.pt":
        torch.save(torch.from_numpy(first)[None], path)
    elif name == "named.pt":
        torch.save({"patch": torch.from_numpy(first), "loss": torch.zeros(3)}, path)
    else:
        save_file({"anything": torch.from_numpy(first)}, path)
    return path


NAMES = ("a.png", "last.npy", "first.npy", "bytes.npy", "to255.npy", "plain.pt", "named.pt", "one.safetensors")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_cells_come_from_every_format(name: str, tmp_path: Path) -> None:
    pixels, words = read_pixels(save_as(tmp_path / name))
    np.testing.assert_array_equal(to_cells(pixels, None), CELLS)
    assert "10" in words


def test_a_cell_is_the_mean_of_its_pixels_in_linear_light() -> None:
    """Half black and half white is 50 % of the light, which is 188 in sRGB; flat squares stay what they are."""
    stripes = np.zeros((4, 4, 3), np.uint8)
    stripes[:, ::2] = 255
    assert (to_cells(stripes, (2, 2)) == 188).all()
    np.testing.assert_array_equal(to_cells(vivid_patch().picture(16), (10, 10)), CELLS)


def test_transparent_corners_are_grey_and_said(tmp_path: Path) -> None:
    clear = np.full((4, 4, 4), 255, np.uint8)
    clear[0, 0, 3] = 0
    Image.fromarray(clear).save(tmp_path / "clear.png")
    pixels, words = read_pixels(tmp_path / "clear.png")
    assert pixels[0, 0].tolist() == [128] * 3 and "6 % are transparent" in words


def test_numbers_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    """They would make a black or a grey patch, without a word."""
    np.save(tmp_path / "bits.npy", (CELLS > 100).astype(np.int64))
    Image.fromarray(np.dstack([CELLS, np.zeros_like(CELLS[..., :1])])).save(tmp_path / "clear.png")
    np.savez(tmp_path / "nowhere.npz", patch=CELLS, patch_mask=np.zeros_like(CELLS))
    for name, words in {
        "bits.npy": "its whole numbers reach from 0 to 1; expected 0 to 255, or floats from 0 to 1",
        "clear.png": "all of it is transparent",
        "nowhere.npz": "patch_mask covers nothing",
    }.items():
        with pytest.raises(InputError, match=words):
            read_pixels(tmp_path / name)


def test_what_is_no_patch_is_refused(tmp_path: Path) -> None:
    witness = tmp_path / "was_run"
    torch.save(Witness(witness), tmp_path / "hostile.pt")
    np.save(tmp_path / "hostile.npy", np.array([Witness(witness)], dtype=object), allow_pickle=True)
    np.save(tmp_path / "flat.npy", np.zeros((5, 5)))
    np.save(tmp_path / "negative.npy", np.full((5, 5, 3), -1.0))
    np.save(tmp_path / "between.npy", np.full((5, 5, 3), 1.3))
    with open(tmp_path / "archive.npy", "wb") as stream:
        np.savez(stream, patch=CELLS)
    (tmp_path / "header.npy").write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f8\n    ")
    torch.save(torch.zeros(3, 5, 5).to_sparse(), tmp_path / "sparse.pt")
    torch.save(torch.zeros(3, 5, 5, device="meta"), tmp_path / "meta.pt")
    Image.fromarray(np.full((5, 5), 0.5, np.float32)).save(tmp_path / "float.tif")
    torch.save(torch.zeros(1, 3, 1, 1).expand(1, 3, 60000, 60000), tmp_path / "claims.pt")  # a kilobyte
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("patch.npy", "w") as member,
    ):
        for _ in range(1500):
            member.write(bytes(2**20))
    np.savez(tmp_path / "two.npz", a=CELLS, b=CELLS)
    np.savez(tmp_path / "mask.npz", patch=CELLS, patch_mask=np.ones(5))
    np.savez(tmp_path / "hostile.npz", patch=np.array([Witness(witness)], dtype=object))
    torch.save({"a": torch.zeros(2), "b": torch.zeros(2)}, tmp_path / "several.pt")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "words.txt").write_text("hello")
    Image.new("RGB", (8, 8)).save(tmp_path / "program.png", format="EPS")  # which Pillow would have another program run
    for name, words in {
        "hostile.pt": "holds no plain tensor",
        "hostile.npy": "no array of numbers that can be read",
        "flat.npy": r"expected \(H, W, 3\) or \(3, H, W\) numbers, got \(5, 5\)",
        "negative.npy": "reach from -1 to -1",
        "between.npy": r"largest value is 1\.3, which fits neither 0 to 1 nor 0 to 255",
        "archive.npy": "holds several arrays",
        "header.npy": "no array of numbers that can be read",
        "sparse.pt": "holds no dense tensor",
        "meta.pt": "holds no",
        "float.tif": "floating-point numbers of an unknown range",
        "several.pt": "expected one tensor, or one called patch",
        "claims.pt": "claims 1.08e.10 numbers; expected at most 120 megapixels",
        "bomb.npz": "unpacks to more than 1.4 GB",
        "two.npz": "holds no patch; expected one array, or one called patch",
        "mask.npz": r"patch_mask is \(5,\) float64, which does not fit",
        "hostile.npz": "no array of numbers that can be read",
        "text.png": "broken picture",
        "program.png": "broken picture .*not a known kind",
        "words.txt": "no picture, array or tensor",
        "gone.png": "no picture",
    }.items():
        with pytest.raises(InputError, match=words):
            read_pixels(tmp_path / name)
    assert not witness.exists()
    with pytest.raises(InputError, match=r"600 x 600 pixels are more .* give --grid RxC"):
        to_cells(np.zeros((600, 600, 3), np.uint8), None)


def test_floats_that_rounding_took_above_one_are_still_of_0_to_1(tmp_path: Path) -> None:
    np.save(tmp_path / "rounded.npy", np.array([[[0.0, 0.5, 1.0001]]]))
    pixels, words = read_pixels(tmp_path / "rounded.npy")
    assert pixels.tolist() == [[[0, 128, 255]]] and "read as 0 to 1" in words


def test_what_is_exported_comes_back(tmp_path: Path) -> None:
    patch = vivid_patch()
    assert write_png(patch, tmp_path / "p.png", 50.8, 300) == (600, 600)
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.mode == "RGBA" and picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert write_art(patch, tmp_path / "p.npz", 50) == (3, 50, 50)
    with np.load(tmp_path / "p.npz") as arrays:
        assert arrays["patch"].dtype == np.float32 and (arrays["patch_mask"] == 1).all()
        np.save(tmp_path / "art.npy", arrays["patch"])
    assert write_tensor(patch, tmp_path / "p.pt", 50) == (1, 3, 50, 50)
    for name in ("p.png", "p.npz", "art.npy", "p.pt"):
        np.testing.assert_array_equal(to_cells(read_pixels(tmp_path / name)[0], (10, 10)), CELLS)


def test_a_circle_is_transparent_around_it(tmp_path: Path) -> None:
    write_png(vivid_patch(), tmp_path / "p.png", 25.4, 100, circle=True)
    alpha = np.asarray(Image.open(tmp_path / "p.png"))[..., 3]
    assert alpha[0, 0] == 0 and alpha[50, 50] == 255 and (alpha > 0).mean() == pytest.approx(np.pi / 4, abs=0.01)
    write_art(vivid_patch(), tmp_path / "p.npz", 100, circle=True)
    with np.load(tmp_path / "p.npz") as arrays:
        assert (arrays["patch_mask"] == alpha / 255).all() and arrays["patch"].min(axis=0)[0, 0] >= 0
    write_png(Patch(np.zeros((5, 10, 3), np.uint8)), tmp_path / "wide.png", 25.4, 100, circle=True)
    wide = np.asarray(Image.open(tmp_path / "wide.png"))[..., 3] > 0  # a circle of the shorter side, as in training
    assert wide.shape == (50, 100) and wide.any(axis=0).sum() == wide.any(axis=1).sum() == 50
    pixels, words = read_pixels(tmp_path / "p.npz")
    assert (pixels[0, 0] == 128).all() and "21 % are outside of patch_mask" in words
    with pytest.raises(InputError, match="20000x20000 pixels; expected at most 120 megapixels"):
        write_png(vivid_patch(), tmp_path / "huge.png", 5080, 100)


def test_an_export_that_would_lose_cells_or_ignore_an_option_is_refused(command, tmp_path: Path) -> None:
    vivid_patch().save(tmp_path)
    command("export", tmp_path, "--as", "art", "--px", "9").assert_refused("9 x 9 pixels cannot show 10 x 10 cells")
    command("export", tmp_path, "--size", "1mm", "--dpi", "100").assert_refused("expected 10 pixels across or more")
    command("export", tmp_path, "--px", "100").assert_refused("--px is not for --as png; give --size and --dpi")
    command("export", tmp_path, "--as", "art", "--size", "3cm").assert_refused("--size is not for --as art; give --px")
    assert not list(tmp_path.glob("export*"))


def test_cells_keep_their_shape_on_oblong_grids() -> None:
    assert enlarged(Patch(np.zeros((5, 10, 3), np.uint8)), 100).shape == (50, 100, 3)


def test_an_imported_patch_goes_all_the_way(command, tmp_path: Path, monkeypatch) -> None:
    """Evaluated, printed, filmed and reported, with its origin and without a claim of a training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(HELPERS)])
    Path("their_model.py").write_text(
        "from support import CATEGORIES, ColourNet\nfrom physpatch import Victim\n"
        "def make():\n"
        "    return Victim.wrap(ColourNet(), categories=CATEGORIES, size=64, mean=(0, 0, 0), std=(1, 1, 1))\n"
    )
    Path("labels.txt").write_text("\n".join(CATEGORIES))
    rng = np.random.default_rng(0)
    for i in range(8):
        picture = rng.integers(0, 90, (70, 70, 3), dtype=np.uint8)
        picture[..., i % 2] += 150
        Path(f"data/{CATEGORIES[i % 2]}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(f"data/{CATEGORIES[i % 2]}/{i}.png")
    save_as(tmp_path / "theirs.png")
    options = ("--target", "blue-thing", "--labels", "labels.txt", "--model", "their_model:make", "--data", "data")
    done = command("import", "theirs.png", *options, "--note", "Published with a paper.")
    assert done.code == 0, done.err
    assert "10x10 cells, target blue thing" in done.out and "from 10 x 10 pixels" in done.out
    assert Path("runs/latest").resolve() == tmp_path / "runs/theirs"
    written = json.loads(Path("runs/theirs/run.json").read_text())
    assert_follows_schema(written, "run")
    assert written["status"] == "imported" and written["weights"] is None and written["data"] is None
    assert "optimisation" not in written["config"] and "loss" not in written["config"]["objective"]
    command("import", "theirs.png").assert_refused("already holds a run")
    command("train", "--resume").assert_refused("was imported, so there is no training to resume")
    assert command("report", "runs/theirs").code == 0  # before it was measured
    done = command("evaluate", "--save", "--preset", "mild", "--condition", "screen", "--seed", "4", "--data", "data")
    assert done.code == 0, done.err
    record = RunRecord.of(Path("runs/theirs"))
    shown = EotConfig.preset("mild").changed(prints=(), print_mix=(0.0, 0.0), print_fade=(0.0, 0.0))
    assert record.train_config.eot == shown and record.seed == 4  # what was measured in
    assert list(record.measured) == ["their_model:make"] and record.results is not None and record.results.n == 8
    assert command("print", "--size", "10cm").code == 0
    live = ("live", "--source", "virtual", "--headless", "--max-frames", "3", "--out", "session")
    assert command(*live).code == 0
    for folder in ("runs/theirs", "session"):
        assert command("report", folder).code == 0
        page = Path(folder, "report.html").read_text()
        assert "Imported from “theirs.png”" in page and "Published with a paper." in page
        assert "Trained against" not in page
    assert command("export", "--as", "torchattacks", "--px", "40").code == 0
    assert read_pixels(Path("runs/theirs/export.pt"))[0].shape == (40, 40, 3)


def test_an_imported_patch_can_be_on_an_object(command, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # the import becomes runs/latest there
    Image.fromarray(CELLS).save(tmp_path / "sticker.png")
    sticker = ("import", tmp_path / "sticker.png", "--model", "signs", "--object", "stop", "--object-share", "0.3")
    assert command(*sticker, "--out", tmp_path / "run").code == 0
    config = RunRecord.of(tmp_path / "run").config
    assert (config["object"]["name"], config["object"]["share"], config["objective"]["goal"]) == ("stop", 0.3, "auto")
    command(*sticker, "--object-share", "3", "--out", tmp_path / "other").assert_refused("share")


@pytest.fixture
def colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A working folder with a patch from elsewhere, and the options for a network of one's own and its photographs."""
    monkeypatch.chdir(tmp_path)
    save_as(tmp_path / "theirs.png")
    save_program(ColourNet(), tmp_path / "colours.onnx", 32)
    Path("labels.txt").write_text("\n".join(CATEGORIES))
    Path("squares").mkdir()
    save_squares(tmp_path / "squares")
    return ("--model", "colours.onnx", "--labels", "labels.txt", "--data", "squares")


def test_an_import_names_its_files_for_other_folders_and_refuses_what_is_not_there(
    command, colours: tuple[str, ...], tmp_path: Path, monkeypatch
) -> None:
    assert command("import", "theirs.png", *colours, "--target", "2", "--out", "run").code == 0
    monkeypatch.chdir("/")
    assert command("evaluate", tmp_path / "run", "--no-eot", "--json", "-").code == 0
    monkeypatch.chdir(tmp_path)
    own_data = ("evaluate", "run", "--data", "squares", "--columns", "file=picture")
    command(*own_data).assert_refused("read the usual columns, not file=picture; leave out --columns")
    command("import", "theirs.png", "--data", "gone", "--out", "other").assert_refused("no data folder 'gone'")
    command("import", "theirs.png", "--model", "gone", "--out", "other").assert_refused("unknown model 'gone'")
    assert not Path("other").exists()


def test_kept_results_name_the_network_and_the_photographs_that_they_were_measured_with(
    command, colours: tuple[str, ...], tmp_path: Path
) -> None:
    """And a run that is given by its patch.json is measured like one that is given by its folder."""
    assert command("import", "theirs.png", "--target", "859", "--area", "0.2", "--out", "run").code == 0
    done = command("evaluate", "run/patch.json", "--save", "--no-eot", *colours, "--threshold", "0.1")
    assert done.code == 0, done.err
    config = RunRecord.of(Path("run")).train_config
    assert (config.victim.model, config.victim.labels, config.data.source) == tuple(
        str(tmp_path / name) for name in ("colours.onnx", "labels.txt", "squares")
    )
    assert (config.victim.threshold, config.eot, config.patch.area) == (0.1, EotConfig.none(), 0.2)
    assert load_run_config(Path("run/patch.json")) == load_run_config(Path("run")) == config
    kept = RunRecord.of(Path("run")).results
    assert command("evaluate", "run/patch.json", "--json", "again.json").code == 0
    (again,) = json.loads(Path("again.json").read_text()).values()
    assert kept is not None and again["n"] == kept.n  # all photographs, as of any imported run


def test_the_target_is_one_of_the_models_own_classes(command, tmp_path: Path, monkeypatch) -> None:
    """A detector's classes are not ImageNet's; names that are given are kept for the model, which may have none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(HELPERS)])
    save_as(tmp_path / "theirs.png")
    sign = ("import", "theirs.png", "--model", "signs", "--object", "yield")
    assert command(*sign, "--target", "stop", "--out", "sign").code == 0
    assert RunRecord.of(Path("sign")).target is not None and Patch.load(Path("sign")).target["name"] == "stop"
    command(*sign, "--target", "digital clock", "--out", "clock").assert_refused("unknown class 'digital clock'")
    assert command("import", "theirs.png", "--target", "digital clock", "--out", "clock").code == 0
    Path("numbered.py").write_text("from support import ColourNet\ndef make():\n    return ColourNet()\n")
    Path("labels.txt").write_text("\n".join(CATEGORIES))
    own = ("import", "theirs.png", "--model", "numbered:make")
    assert command(*own, "--target", "class 3", "--out", "numbered").code == 0
    command(*own, "--target", "blue thing", "--out", "named").assert_refused("unknown class 'blue thing'")
    assert command(*own, "--target", "blue thing", "--labels", "labels.txt", "--out", "named").code == 0
    assert RunRecord.of(Path("named")).config["victim"]["labels"] == str(tmp_path / "labels.txt")
    Path("described.toml").write_text('model = "numbered:make"\n')
    described = ("import", "theirs.png", "--model", "described.toml", "--target", "class 3")
    command(*described, "--out", "described").assert_refused("whose code would run", "--trust-weights")
    assert command(*described, "--trust-weights", "--out", "described").code == 0


def test_results_of_a_training_are_not_replaced(command, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("labels.txt").write_text("\n".join(CATEGORIES))
    save_as(tmp_path / "theirs.png")
    command("import", "theirs.png", "--target", "purple thing", "--labels", "labels.txt").assert_refused(
        "unknown class"
    )
    assert command("import", "theirs.png", "--target", "2", "--labels", "labels.txt").code == 0
    written = json.loads(Path("runs/theirs/run.json").read_text())
    measured = weights_record(make_tiny_victim())
    data = {"source": "", "train": 1, "held_out": 1, "train_fingerprint": "", "held_out_fingerprint": ""}
    trained = {k: v for k, v in written.items() if k != "imported"} | {"weights": measured.to_dict(), "data": data}
    Path("runs/theirs/run.json").write_text(json.dumps(trained))
    with pytest.raises(InputError, match="keeps the results of its training"):
        save_results(Path("runs/theirs"), {}, measured, TrainConfig(), 0)
    Path("runs/theirs/run.json").write_text(json.dumps(trained | {"weights": None}))
    done = command("report", "runs/theirs")
    assert done.code == 0 and "weights should be an object, got None, unless the patch was imported" in done.err
    assert not Path("runs/theirs/result.json").exists()
