"""Photographs: what is listed, how it is split, what is refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import write_huge_png

from calibration.common.errors import InputError, UnavailableError
from calibration.common.pictures import open_picture
from physpatch.data import named_sets
from physpatch.data.photographs import UNLABELLED, Photo, limited, list_photos, load_photographs, load_photos, split
from physpatch.victims.families.ultralytics_detectors import import_ultralytics
from physpatch.victims.labels import imagenet_categories
from physpatch.victims.protocol import Preprocessing

NAMES = ("red thing", "green thing", "blue_thing")
SMALL = Preprocessing(32, 36, (0, 0, 0), (1, 1, 1))


def picture(path: Path, size: tuple[int, int] = (50, 40), color: tuple[int, int, int] = (200, 10, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


def test_samples_are_twenty_labelled_photographs_and_backgrounds() -> None:
    photos = list_photos("samples", imagenet_categories())
    labelled = [p for p in photos if p.label != UNLABELLED]
    assert len(labelled) == 20 and len(photos) == 30
    assert imagenet_categories()[labelled[0].label] == "bull mastiff"
    assert all(p.path.is_file() for p in photos)


def test_the_split_keeps_backgrounds_for_training_unless_they_are_held_out(tmp_path: Path) -> None:
    photos = [
        Photo(picture(tmp_path / f"{i}.png", color=(i, 0, 0)), i % 3 if i < 20 else UNLABELLED) for i in range(30)
    ]
    train, held_out = split(photos, 0.5)
    assert len(train) > 5 and len(held_out) > 5 and not {p.path for p in train} & {p.path for p in held_out}
    assert all(p.label != UNLABELLED for p in held_out) and any(p.label == UNLABELLED for p in train)
    known = {p.path for p in photos if p.label != UNLABELLED}
    assert {p.path for p in train + held_out} > known  # only unlabelled ones on the held-out side are left out
    with pytest.raises(InputError, match="none is left to train on"):
        split(photos, 1.0)


def test_the_limit_keeps_order() -> None:
    photos = [Photo(Path(f"{i}.png"), 0) for i in range(50)]
    few = limited(photos, 10, seed=0)
    assert len(few) == 10 and few == sorted(few, key=lambda p: int(p.path.stem))
    assert limited(photos, 50, seed=0) == photos


def test_a_labels_file(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    (tmp_path / "labels.csv").write_text("file,class_index,wnid\nimages/a.png,2,n01\n")
    assert list_photos(str(tmp_path), NAMES) == [Photo(tmp_path / "images/a.png", 2)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("what,label\na.png,1\n", "needs the columns file and label, or name its own with --columns file=NAME"),
        ("", "needs the columns"),
        ("file,class_index\n,1\n", "line 2: the column file is empty"),
        ("file,class_index\na.png\n", "line 2: class_index None is not a number"),
        ("file,class_index\na.png,two\n", "line 2: class_index 'two' is not a number"),
        ("file,class_index\na.png,1\nb.png,3\n", "class index 3 out of range; the model has classes 0 to 2"),
    ],
)
def test_broken_labels_files(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        list_photos(str(tmp_path), NAMES)


def test_labels_from_a_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("file,class_index\na.png,1\n".encode("utf-8-sig"))
    assert list_photos(str(tmp_path), NAMES) == [Photo(tmp_path / "a.png", 1)]
    (tmp_path / "labels.csv").write_bytes("file,class_index\nä.png,1\n".encode("latin-1"))
    with pytest.raises(InputError, match="is not a CSV file in UTF-8"):
        list_photos(str(tmp_path), NAMES)


def test_samples_have_no_labels_for_other_classes() -> None:
    assert {p.label for p in list_photos("samples", NAMES)} == {UNLABELLED}


def test_a_detector_needs_no_labels_to_hold_some_out(tmp_path: Path) -> None:
    photos = [Photo(picture(tmp_path / f"{i}.png", color=(i, 9, 0)), UNLABELLED) for i in range(12)]
    train, held_out = split(photos, 0.5, by_label=False)
    assert train and held_out and len(train) + len(held_out) == 12


def test_a_phones_turn_is_undone(tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :40] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by a quarter
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    assert open_picture(tmp_path / "a.jpg").size == (40, 80)


def test_folders_named_by_index_are_not_sorted_as_words(tmp_path: Path) -> None:
    names = tuple(f"class {i}" for i in range(12))
    for i in range(12):
        picture(tmp_path / str(i) / "x.png")
    assert all(p.label == int(p.path.parent.name) for p in list_photos(str(tmp_path), names))


def test_folders_by_class_name_or_index(tmp_path: Path) -> None:
    picture(tmp_path / "Blue-Thing/x.png")
    picture(tmp_path / "0/y.jpg")
    (tmp_path / ".hidden").mkdir()
    assert {(p.path.name, p.label) for p in list_photos(str(tmp_path), NAMES)} == {("x.png", 2), ("y.jpg", 0)}


def test_as_many_folders_as_classes_are_taken_in_order(tmp_path: Path) -> None:
    for name in ("n03", "n01", "n02"):
        picture(tmp_path / name / "x.png")
    assert [p.label for p in list_photos(str(tmp_path), NAMES)] == [0, 1, 2]
    picture(tmp_path / "n04/x.png")
    with pytest.raises(
        InputError, match=r"n01, n02, n03, n04 are not classes of this model, which are .*; use class names"
    ):
        list_photos(str(tmp_path), NAMES)


def test_a_link_to_its_own_folder_is_no_class(tmp_path: Path, capsys) -> None:
    picture(tmp_path / "photos/a.png")
    (tmp_path / "photos/loop").symlink_to(tmp_path / "photos", target_is_directory=True)
    (tmp_path / "photos/up").symlink_to("..", target_is_directory=True)
    assert list_photos(str(tmp_path / "photos"), NAMES) == [Photo(tmp_path / "photos/a.png", UNLABELLED)]
    assert capsys.readouterr().err == ""


def test_folders_that_are_no_classes_are_left_out_with_a_warning(tmp_path: Path, capsys) -> None:
    picture(tmp_path / "blue thing/x.png")
    picture(tmp_path / "thumbnails/y.png")
    assert [p.label for p in list_photos(str(tmp_path), NAMES)] == [2]
    said = capsys.readouterr().err.splitlines()
    assert said[1].split() == ["thumbnails", "-", "fits", "none;", "1", "left", "out"]
    assert said[2].strip() == "and 1 by the model's own names or indices"
    shutil.rmtree(tmp_path / "blue thing")
    picture(tmp_path / "z.png")
    assert [(p.path.name, p.label) for p in list_photos(str(tmp_path), NAMES)] == [("y.png", -1), ("z.png", -1)]
    assert "fits none; 1 unlabelled" in capsys.readouterr().err


def test_labels_of_photographs_elsewhere_are_taken_and_it_is_said(tmp_path: Path, capsys) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/labels.csv").write_text("file,class_index\n../a.png,1\n")
    (photo,) = list_photos(str(tmp_path / "labels"), NAMES)
    assert photo.path.samefile(tmp_path / "a.png") and photo.label == 1
    assert "names 1 photographs outside of" in capsys.readouterr().err
    (tmp_path / "labels/labels.csv").write_text(f"file,class_index\n{tmp_path}/a.png,1\n")
    (photo,) = list_photos(str(tmp_path / "labels"), NAMES, f"folder={tmp_path}")
    assert photo.path.samefile(tmp_path / "a.png") and photo.label == 1 and not capsys.readouterr().err


def test_a_picture_that_is_too_large_is_refused_by_its_header(tmp_path: Path) -> None:
    write_huge_png(tmp_path / "huge.png", 12_000)  # below Pillow's own limit
    with pytest.raises(InputError, match=r"broken image .*12000x12000 pixels; expected at most 120 megapixels"):
        load_photos([Photo(tmp_path / "huge.png", 0)], SMALL)


def test_sixteen_bits_of_grey_keep_their_shades(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 40), 0x8040, np.uint16)).save(tmp_path / "deep.png")
    assert np.asarray(open_picture(tmp_path / "deep.png")).tolist() == np.full((40, 40, 3), 0x80).tolist()
    Image.fromarray(np.full((40, 40), 0x8040, np.int32)).save(tmp_path / "deep.tif")
    assert np.asarray(open_picture(tmp_path / "deep.tif")).tolist() == np.full((40, 40, 3), 0x80).tolist()
    Image.fromarray(np.full((40, 40), 0x80400, np.int32)).save(tmp_path / "deeper.tif")
    with pytest.raises(InputError, match="integers of an unknown range"):
        open_picture(tmp_path / "deeper.tif")


def test_imagenettes_folders_have_imagenets_classes(tmp_path: Path) -> None:
    picture(tmp_path / "n03394916/x.png")
    (photo,) = list_photos(str(tmp_path), imagenet_categories())
    assert photo.label == 566


def test_plain_folders_are_backgrounds(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert list_photos(str(tmp_path), NAMES) == [Photo(tmp_path / "a.png", UNLABELLED)]


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data folder 'nowhere'; expected samples, imagenette, a folder"):
        list_photos("nowhere", NAMES)
    with pytest.raises(InputError, match="holds no images"):
        list_photos(str(tmp_path), NAMES)


def test_imagenette_without_a_network_fails_with_the_cure(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(named_sets.torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(named_sets, "reachable", lambda url: False)
    with pytest.raises(UnavailableError, match="use --data samples"):
        list_photos("imagenette", NAMES)


def test_half_of_imagenette_is_not_taken_for_all_of_it(monkeypatch, tmp_path: Path) -> None:
    unpacked = []

    def unpack(root, **_: object) -> None:
        (Path(root) / "imagenette2-320/val").mkdir(parents=True)
        unpacked.append(root)
        if len(unpacked) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(named_sets.torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(named_sets, "reachable", lambda url: True)
    monkeypatch.setattr("torchvision.datasets.Imagenette", unpack)
    with pytest.raises(KeyboardInterrupt):
        named_sets.imagenette()
    for _ in range(2):
        assert named_sets.imagenette() == tmp_path / "datasets/imagenette2-320/val"
    assert len(unpacked) == 2 and [path.name for path in (tmp_path / "datasets").iterdir()] == ["imagenette2-320"]


def test_a_photograph_that_is_listed_twice_is_one_trial(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        Image.new("RGB", (40, 40), (90 * number, 20, 30)).save(tmp_path / f"{name}.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "one.png").read_bytes())
    photos = [Photo(tmp_path / f"{name}.png", 0) for name in ("one", "two", "one", "copy")]
    assert load_photos(photos, SMALL).units.tolist() == [0, 1, 0, 0]
    assert load_photos(photos[:2], SMALL).units.tolist() == [0, 1] and not len(load_photos([], SMALL).units)


def test_photographs_are_central_squares(tmp_path: Path) -> None:
    wide = np.zeros((72, 216, 3), np.uint8)
    wide[:, 72:144] = (10, 200, 30)  # only the central third is green
    Image.fromarray(wide).save(tmp_path / "wide.png")
    loaded = load_photos([Photo(tmp_path / "wide.png", 1)], SMALL)
    assert loaded.images.shape == (1, 3, 32, 32) and loaded.labels.tolist() == [1]
    assert loaded.images[0, 1].min() > 190
    assert load_photos([Photo(tmp_path / "wide.png", 1)], SMALL, whole=True).images.shape[-1] == 36


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    for mode in ("L", "RGBA", "P", "CMYK"):
        path = tmp_path / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}"
        Image.new(mode, (60, 50)).save(path)
        assert load_photos([Photo(path, 0)], SMALL).images.shape == (1, 3, 32, 32)


def test_a_broken_jpeg_is_named(tmp_path: Path) -> None:
    import_ultralytics()  # which would put an opener of its own into Pillow
    whole = picture(tmp_path / "whole.jpg", (200, 200)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"broken image .*cut\.jpg"):
        load_photos([Photo(tmp_path / "cut.jpg", 0)], SMALL)
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(InputError, match=r"broken image .*text\.jpg"):
        load_photos([Photo(tmp_path / "text.jpg", 0)], SMALL)
    with pytest.raises(InputError, match="no image"):
        load_photos([Photo(tmp_path / "gone.jpg", 0)], SMALL)


def test_fingerprints_tell_data_apart(tmp_path: Path, tiny_victim) -> None:
    for i in range(6):
        picture(tmp_path / f"{i % 3}/{i}.png", color=(i * 20, 0, 0))
    victim = replace(tiny_victim, categories=NAMES)
    first, held_out = load_photographs(str(tmp_path), victim, seed=0)
    again, _ = load_photographs(str(tmp_path), victim, seed=0)
    assert first.fingerprint == again.fingerprint != held_out.fingerprint


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("squash", [False, True])
def test_photographs_are_resized_as_the_network_wants(interpolation: str, squash: bool, tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8))
    picture.save(tmp_path / "a.png")
    wanted = replace(SMALL, interpolation=interpolation, squash=squash)
    loaded = load_photos([Photo(tmp_path / "a.png", UNLABELLED)], wanted).images[0].permute(1, 2, 0).numpy()
    resized = picture.resize((36, 36) if squash else (54, 36), Image.Resampling[interpolation.upper()])
    left, top = (resized.width - 32) // 2, (resized.height - 32) // 2
    np.testing.assert_array_equal(loaded, np.asarray(resized.crop((left, top, left + 32, top + 32))))
