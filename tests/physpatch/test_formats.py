"""Data sets as people have them: what each format lists, and which files are refused in one line."""

import csv
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import ExifTags, Image
from support import CATEGORIES, ColourNet, save_squares, write_huge_png

from calibration.common.errors import InputError, UnavailableError
from physpatch.data.formats import FORMATS, unpacking
from physpatch.data.formats.videos import FRAMES_PER_CLIP, frames_of
from physpatch.data.photographs import UNLABELLED, Photo, list_photos, load_photographs, load_photos, photos_for, split
from physpatch.data.splits import content_id
from physpatch.evaluation.classification import evaluate_patch
from physpatch.records.config import TrainConfig
from physpatch.records.data_columns import Columns
from physpatch.records.patch_file import Patch
from physpatch.records.run_record import RunRecord
from physpatch.victims.protocol import Preprocessing, Victim

NAMES = ("red thing", "green thing", "blue_thing")
COLOURS = ((200, 20, 20), (20, 200, 20), (20, 20, 200))
SMALL = Preprocessing(32, 36, (0, 0, 0), (1, 1, 1))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is unpacked out of the user's cache."""
    monkeypatch.setattr(unpacking.platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    return tmp_path / "cache/data"


def picture(path: Path, kind: int = 0, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (50, 40), tuple(c + shade for c in COLOURS[kind])).save(path)
    return path


def png(kind: int, shade: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (50, 40), tuple(c + shade for c in COLOURS[kind])).save(stream, "PNG")
    return stream.getvalue()


def listed(source: Path, columns: str | None = None) -> list[tuple[str, int]]:
    return [(photo.path.name, photo.label) for photo in list_photos(str(source), NAMES, columns)]


def video(path: Path, kind: int, frames: int = 40) -> Path:
    """Write a video of one colour that grows brighter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            pixels = np.full((48, 64, 3), COLOURS[kind], np.uint8) + np.uint8(number)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


# Tables


def test_a_photograph_that_is_listed_with_two_classes_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text("file,label\na.png,red thing\n./a.png,red thing\n")
    assert listed(tmp_path / "list.csv") == [("a.png", 0)] * 2
    (tmp_path / "list.csv").write_text("file,label\na.png,red thing\n./a.png,green thing\n")
    with pytest.raises(
        InputError, match=r"a\.png is listed with two classes, red thing and green thing; keep the right"
    ):
        listed(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("file,label\na.png,gizmo\n")
    with pytest.raises(
        InputError, match="gizmo are not classes of this model, which are red thing, green thing, blue_"
    ):
        listed(tmp_path / "list.csv")


def test_columns_of_photographs_without_a_table_are_refused() -> None:
    with pytest.raises(InputError, match="samples has no table whose columns could be named; leave out --columns"):
        list_photos("samples", NAMES, "label=x")


def test_a_table_with_any_column_names(tmp_path: Path, capsys) -> None:
    picture(tmp_path / "p/a.png"), picture(tmp_path / "p/b.png", 1), picture(tmp_path / "p/c.png", 2)
    table = tmp_path / "list.csv"
    table.write_text("what,where,walk\nRed-Thing,p/a.png,1\n1,p/b.png,\n,p/c.png,1\n")
    columns = "file=where,label=what,clip=walk"
    photos = list_photos(str(table), NAMES, columns)
    assert [(p.path.name, p.label) for p in photos] == [("a.png", 0), ("b.png", 1), ("c.png", UNLABELLED)]
    assert [p.clip for p in photos] == [tmp_path / "p/a.png", None, tmp_path / "p/a.png"]
    assert [p.label for p in list_photos(str(table), None, columns)] == [UNLABELLED] * 3
    assert capsys.readouterr().err == ""
    with pytest.raises(InputError, match=r"list.csv has no column 'path'; it has what, where, walk"):
        listed(table, "file=path")
    with pytest.raises(InputError, match=r"list.csv needs the columns file and label.* it has what, where, walk"):
        listed(table)
    assert [p.label for p in list_photos(str(table), NAMES, "file=where")] == [UNLABELLED] * 3
    assert "has no column of labels, so its photographs are unlabelled" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t"), ("a.csv", ",")])
def test_tables_of_spreadsheets_with_semicolons_and_tabs(name: str, delimiter: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png"), picture(tmp_path / "b, c.png", 1)
    lines = [["the file", '"what, exactly"', "note"], ["a.png", "blue-thing", "x"], ['"b, c.png"', "1", '"1,5; 2"']]
    (tmp_path / name).write_text("\n".join(delimiter.join(line) for line in lines), encoding="utf-8-sig")
    assert listed(tmp_path / name, 'file=the file, "label=what, exactly"') == [("a.png", 2), ("b, c.png", 1)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("size=1", "unknown kind of column 'size'"),
        ("file", "is not understood; expected file=NAME,label=NAME"),
        ("file=a,file=b", "each once"),
        ("", "unknown kind of column ''"),
    ],
)
def test_columns_that_are_not_understood(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        TrainConfig.of(columns=text)


def test_columns_are_kept_with_an_absolute_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Columns.absolute("label=a=b,folder=photos") == f"label=a=b,folder={tmp_path / 'photos'}"
    quoted = Columns.absolute('"file=where, exactly","folder=my, photos"')
    assert Columns.parse(quoted) == Columns("where, exactly", folder=tmp_path / "my, photos")
    assert Columns.absolute(None) is None
    with pytest.raises(InputError, match="has no table whose columns could be named"):
        picture(tmp_path / "photos/a.png")
        listed(tmp_path / "photos", "label=x")


def test_lines_of_json_end_at_line_feeds_alone(tmp_path: Path) -> None:
    for i in range(2):
        picture(tmp_path / f"{i}.png", i)
    rows = [{"file_name": f"{i}.png", "label": NAMES[i], "text": "one\u2028line\x85"} for i in range(2)]
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "metadata.jsonl").write_text("\r\n".join(lines), encoding="utf-8", newline="")
    assert listed(tmp_path) == [("0.png", 0), ("1.png", 1)]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_imagefolder_with_metadata(tmp_path: Path, kind: str, capsys) -> None:
    for split_name in ("train", "test"):
        rows = [{"file_name": f"{i}.png", "label": NAMES[i], "text": "a, b"} for i in range(3)]
        for i in range(3):
            picture(tmp_path / split_name / f"{i}.png", i)
        with open(tmp_path / split_name / f"metadata.{kind}", "w", newline="") as stream:
            if kind == "csv":
                writer = csv.DictWriter(stream, rows[0])
                writer.writeheader()
                writer.writerows(rows)
            else:
                stream.write("\n".join(map(json.dumps, rows)))
    theirs = datasets.load_dataset("imagefolder", data_dir=str(tmp_path), cache_dir=str(tmp_path / "hf"))["test"]
    assert theirs["label"][:] == list(NAMES)
    expected = [(f"{i}.png", i) for i in range(3)]
    assert listed(tmp_path) == expected * 2
    assert "test, train are read together; give one of them to --data" in capsys.readouterr().err
    assert listed(tmp_path / "test") == expected


# Arrow and Parquet, written by the library that people write them with


@pytest.fixture
def theirs() -> datasets.DatasetDict:
    """Six pictures in two splits, with classes that have names."""
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES)), "walk": datasets.Value("int32")}
    )

    def part(shade: int) -> datasets.Dataset:
        rows: dict[str, list[Any]] = {"image": [], "label": [], "walk": []}
        for i in range(3):
            rows["image"].append({"bytes": png(i, shade), "path": f"{i}.png"})
            rows["label"].append(i if (i, shade) != (2, 1) else -1)
            rows["walk"].append(i // 2)
        return datasets.Dataset.from_dict(rows, features=features)

    return datasets.DatasetDict({"train": part(0), "test": part(1)})


def test_parquet_files_have_the_pictures_bytes(tmp_path: Path, theirs, cache: Path, capsys) -> None:
    for name, part in theirs.items():
        part.to_parquet(tmp_path / f"set/data/{name}-00000-of-00001.parquet")
    photos = list_photos(str(tmp_path / "set"), NAMES)
    assert [p.label for p in photos] == [0, 1, UNLABELLED, 0, 1, 2]
    assert "test, train are read together" in capsys.readouterr().err
    assert {p.path.parent.parent.parent for p in photos} == {cache}
    assert [p.path.read_bytes() for p in photos[3:]] == [png(i) for i in range(3)]
    one = tmp_path / "set/data/train-00000-of-00001.parquet"
    assert [p.label for p in list_photos(str(one), NAMES)] == [0, 1, 2]
    # The same picture in a folder has the same content, so it is on the same side of the split.
    (tmp_path / "same.png").write_bytes(png(1))
    assert content_id(tmp_path / "same.png") == content_id(photos[4].path)
    walks = list_photos(str(one), NAMES, "clip=walk")
    assert walks[0].clip == walks[1].clip == walks[0].path and walks[2].clip == walks[2].path


def test_a_saved_dataset_is_read_without_its_library(tmp_path: Path, theirs, capsys) -> None:
    theirs.save_to_disk(tmp_path / "saved")
    assert [p.label for p in list_photos(str(tmp_path / "saved"), NAMES)] == [0, 1, 2, 0, 1, UNLABELLED]
    assert "train, test are read together" in capsys.readouterr().err
    photos = list_photos(str(tmp_path / "saved/test"), NAMES)
    assert [p.label for p in photos] == [0, 1, UNLABELLED]
    assert load_photos(photos, SMALL).images[1, 1].float().mean() > 190


def test_a_cache_that_cannot_be_written_is_not_called_a_damaged_data_set(
    tmp_path: Path, theirs, cache: Path, monkeypatch
) -> None:
    theirs["train"].to_parquet(tmp_path / "a.parquet")
    theirs["train"].save_to_disk(tmp_path / "saved")
    monkeypatch.setattr("physpatch.data.formats.unpacking.cache_folder", lambda: tmp_path / "a.parquet" / "data")
    for name in ("a.parquet", "saved"):
        with pytest.raises(
            InputError, match=r"row 1 cannot be unpacked to .*data \(Not a directory\); make room there"
        ):
            list_photos(str(tmp_path / name), NAMES)


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, theirs, monkeypatch) -> None:
    theirs["train"].to_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr(
        "calibration.common.extras.import_module", lambda name: (_ for _ in ()).throw(ImportError(f"No module {name}"))
    )
    with pytest.raises(UnavailableError, match=r"this data set needs pyarrow .*pip install 'physpatch\[parquet\]'"):
        list_photos(str(tmp_path / "a.parquet"), NAMES)


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_with_names_of_files(tmp_path: Path) -> None:
    picture(tmp_path / "p/a.png", 1)
    table = parquet(tmp_path / "t.parquet", image_path=["p/a.png"], label=["green thing"])
    assert listed(table) == [("a.png", 1)]


# Objects in Hugging Face's tables

BOX, SHARES = [10.0, 5.0, 20.0, 15.0], (10 / 40, 5 / 30, 30 / 40, 20 / 30)
FOUR = datasets.Sequence(datasets.Value("float32"), length=4)
KINDS = datasets.ClassLabel(names=["nothing", CATEGORIES[1]])
NUMBERS = datasets.Value("int64")  # without names: the detector's


def framed(path: Path, orientation: int = 1) -> bytes:
    """Write a picture that is seen as 40 pixels wide and 30 high."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("RGB", (40, 30) if orientation == 1 else (30, 40), "grey").save(path, exif=exif)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        (datasets.Sequence({"bbox": FOUR, "category": KINDS}), {"bbox": [BOX], "category": [1]}),
        ([{"bbox": FOUR, "category": KINDS}], [{"bbox": BOX, "category": 1}]),
        ([{"bbox": FOUR, "label": datasets.Value("string")}], [{"bbox": BOX, "label": CATEGORIES[1]}]),
        (datasets.Sequence({"boxes": FOUR, "categories": NUMBERS}), {"boxes": [BOX], "categories": [1]}),
    ],
    ids=["lists", "objects", "names", "numbers"],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_objects_of_parquet_files_carry_patches(
    tmp_path: Path, tiny_victim: Victim, feature: Any, value: Any, orientation: int, capsys
) -> None:
    picture_of = {"bytes": framed(tmp_path / "a.jpg", orientation), "path": "a.jpg"}
    features = datasets.Features({"image": datasets.Image(), "objects": feature})
    table = datasets.Dataset.from_dict({"image": [picture_of], "objects": [value]}, features=features)
    table.to_parquet(tmp_path / "t.parquet")
    table.save_to_disk(tmp_path / "saved")
    for source in ("t.parquet", "saved"):
        (photo,) = photos_for(tiny_victim, str(tmp_path / source), CATEGORIES[1])
        assert photo.boxes == (pytest.approx(SHARES),)
    assert "unlabelled" not in capsys.readouterr().err


def test_objects_of_an_imagefolder_carry_patches(tmp_path: Path, tiny_victim: Victim) -> None:
    framed(tmp_path / "a.jpg"), framed(tmp_path / "b.jpg")

    def boxes_of(*objects: Any) -> list[Any]:
        lines = [
            json.dumps({"file_name": name, "things": value})
            for name, value in zip(("a.jpg", "b.jpg"), objects, strict=False)
        ]
        (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
        return [photo.boxes for photo in photos_for(tiny_victim, str(tmp_path), CATEGORIES[0], "objects=things")]

    both = {"bbox": [BOX, [0, 0, 5, 5]], "categories": CATEGORIES[:2]}
    assert boxes_of(both, {"bbox": [], "categories": []}) == [(pytest.approx(SHARES),)]
    assert boxes_of(None, both) == [(pytest.approx(SHARES),)]
    for wrong in (
        {"bbox": [BOX], "category": []},
        {"bbox": [[1, 2, 3]], "category": [0]},
        {"bbox": [[1, 2, -3, 4]], "category": [0]},
        {"bbox": [["a", 2, 3, 4]], "category": [0]},
        {"bbox": [BOX], "category": [-1]},
        {"bbox": [BOX], "category": [True]},
        {"category": [0]},
        [3],
        "box",
    ):
        with pytest.raises(InputError, match=r"line 1: things holds no objects .* left, top, width, height in pixels"):
            boxes_of(wrong)
    with pytest.raises(InputError, match="an object's class is none of the detector's, 0 to"):
        boxes_of({"bbox": [BOX], "category": [1000]})


# FiftyOne


def fiftyone(folder: Path, samples: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "samples.json").write_text(json.dumps({"samples": samples}))
    return folder


def test_fiftyones_own_export(tmp_path: Path) -> None:
    picture(tmp_path / "data/a.png"), picture(tmp_path / "data/b.png")
    samples = [
        {"filepath": "data/a.png", "tags": [], "ground_truth": {"_cls": "Classification", "label": "blue thing"}},
        {"filepath": "data/b.png", "tags": [], "ground_truth": None},
    ]
    assert listed(fiftyone(tmp_path, samples)) == [("a.png", 2), ("b.png", UNLABELLED)]
    guessed = [{**s, "guess": {"_cls": "Classification", "label": "red thing"}} for s in samples]
    assert listed(fiftyone(tmp_path, guessed), "label=guess") == [("a.png", 0), ("b.png", 0)]
    with pytest.raises(InputError, match="a sample has no field 'gues'"):
        listed(tmp_path, "label=gues")


def test_fiftyones_classification_export(tmp_path: Path) -> None:
    picture(tmp_path / "data/a.png"), picture(tmp_path / "data/sub/b.jpg")
    content = {"classes": ["green thing", "red thing"], "labels": {"a": 1, "sub/b": 0}}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    assert listed(tmp_path) == [("a.png", 0), ("b.jpg", 1)]
    content["labels"]["a"] = 7
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="is not such an export of FiftyOne"):
        listed(tmp_path)


def test_fiftyones_boxes_carry_patches(tmp_path: Path, tiny_victim: Victim) -> None:
    picture(tmp_path / "data/a.png")
    box = {"_cls": "Detection", "label": "red thing", "bounding_box": [0.25, 0.25, 0.5, 0.25]}
    samples = [{"filepath": "data/a.png", "ground_truth": {"_cls": "Detections", "detections": [box]}}]
    (photo,) = photos_for(tiny_victim, str(fiftyone(tmp_path, samples)), "red thing")
    assert photo.boxes == ((0.25, 0.25, 0.75, 0.5),)


# Videos


def test_videos_are_frames_that_stay_together(tmp_path: Path, cache: Path, capsys) -> None:
    for kind, name in enumerate(NAMES):
        for number in range(4):
            video(tmp_path / f"v/{name}/{number}.mp4", kind, 36 + number)
    short = video(tmp_path / "v/red thing/short.avi", 0, frames=3)
    photos = list_photos(str(tmp_path / "v"), NAMES)
    assert len(photos) == 12 * FRAMES_PER_CLIP + 3
    assert {p.label for p in photos if p.clip and p.clip.parent.name == "blue_thing"} == {2}
    assert sum(p.clip == short for p in photos) == 3
    train, held_out = split(photos, 0.5)
    assert train and held_out and not {p.clip for p in train} & {p.clip for p in held_out}
    # Evenly over the time: each frame is brighter than the last, by the same.
    shades = [np.asarray(Image.open(frame))[..., 2].mean() for frame in frames_of(tmp_path / "v/red thing/0.mp4")]
    assert (np.diff(shades) > 0).all() and shades[-1] - shades[0] == pytest.approx(36 * 7 / 8, abs=4)
    before = {file: file.stat().st_mtime_ns for file in cache.rglob("*.png")}
    assert list_photos(str(tmp_path / "v"), NAMES) == photos
    assert {file: file.stat().st_mtime_ns for file in cache.rglob("*.png")} == before  # not decoded again
    picture(tmp_path / "v/red thing/a.png")
    assert listed(tmp_path / "v") == [("a.png", 0)]
    assert "its 13 videos are left out" in capsys.readouterr().err


def test_a_clip_is_one_trial(tmp_path: Path, tiny_victim: Victim) -> None:
    victim = replace(tiny_victim, categories=(*NAMES, "bright thing"))
    for number in range(6):
        video(tmp_path / f"{NAMES[number % 3]}/{number}.mp4", number % 3, 24 + number)
    train, held_out = load_photographs(str(tmp_path), victim)
    assert len(held_out.units.unique()) * FRAMES_PER_CLIP == len(held_out)
    assert len(set(train.clips)) * FRAMES_PER_CLIP == len(train) and not set(train.clips) & set(held_out.clips)
    assert set(train.clips) < train.content_ids
    both = train.joined(train)
    assert both.subset(torch.arange(len(both)) < len(train)).clips == train.clips
    added = train.subset(train.labels == 0)
    often = train.joined(added, 3)
    last = often.subset(torch.arange(len(often)) >= len(often) - len(added))
    assert (last.clips, last.contents, last.names) == (added.clips, added.contents, added.names)
    assert len(often.units.unique()) == len(train.units.unique()) + len(added.units.unique())
    patch = Patch(np.full((4, 4, 3), 128, np.uint8), None, {})
    rate = evaluate_patch(victim, held_out, patch, poses=1).untargeted["patch"]
    assert rate.n <= len(held_out.units.unique())


# Classes


def test_classes_are_matched_with_a_report(tmp_path: Path, capsys) -> None:
    names = ("car", "T-shirt", "goldfish, Carassius auratus", "crane", "crane")
    for folder in ("automobile", "tshirt", "n01443537", "crane", "4", "gizmo"):
        picture(tmp_path / folder / "a.png")
    found = {p.path.parent.name: p.label for p in list_photos(str(tmp_path), names)}
    assert found == {"automobile": 0, "tshirt": 1, "n01443537": 2, "4": 4}
    said = capsys.readouterr().err.splitlines()
    assert max(map(len, said[1:])) <= 80
    words = [" ".join(line.split()) for line in said[1:]]
    assert words == [
        "automobile car synonym",
        "n01443537 goldfish, Carassius aur… WordNet id",
        "tshirt T-shirt spelling",
        "crane - fits 3 and 4; 1 left out",
        "gizmo - fits none; 1 left out",
        "and 1 by the model's own names or indices",
    ]


def test_imagenets_classes_by_any_of_their_names(tmp_path: Path, monkeypatch) -> None:
    from physpatch.data import class_names
    from physpatch.victims.labels import imagenet_categories

    torchvisions = imagenet_categories()
    theirs = tuple(", ".join(class_names._names_of(wnid)) for wnid in class_names.imagenet_wnids())
    for categories in (torchvisions, theirs):
        labels = ("n02119789", "French horn", "man-eating shark", "Carassius auratus, goldfish")
        matches = class_names.match_classes(labels, categories)
        assert [matches.found[label].index for label in labels] == [278, 566, 2, 1]
    whole = class_names.match_classes(theirs, torchvisions, theirs)
    assert whole.reasons == {"crane": "has another meaning too"}  # the bird and the machine
    assert all(whole.found[name].index == i for i, name in enumerate(theirs) if name != "crane")
    monkeypatch.setattr(class_names, "_synonyms", dict)  # as without timm
    class_names._meanings.cache_clear()
    assert class_names.match_classes(["n02119789"], torchvisions).found["n02119789"] == class_names.Match(
        278, "WordNet id"
    )
    assert "fits none" in class_names.match_classes(["man-eating shark"], torchvisions).reasons["man-eating shark"]
    class_names._meanings.cache_clear()


# Through the commands


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The colour network as a TorchScript file with its description."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(ColourNet().eval(), torch.rand(1, 3, 32, 32)).save(tmp_path / "colours.torchscript")
    (tmp_path / "labels.txt").write_text("\n".join(CATEGORIES))
    (tmp_path / "colours.toml").write_text(
        'model = "colours.torchscript"\nlabels = "labels.txt"\n[preprocessing]\nsize = 32\nmean = [0, 0, 0]\nstd = [1, 1, 1]\n'
    )
    return tmp_path / "colours.toml"


def test_a_table_is_trained_on_and_another_measured_on(
    model: Path, tmp_path: Path, command, monkeypatch, few_views
) -> None:
    monkeypatch.chdir(tmp_path)
    squares = tmp_path / "squares"
    squares.mkdir()
    save_squares(squares)
    files = sorted(squares.rglob("*.png"))
    rows = [f"{file.relative_to(squares)},{file.parent.name.replace(' ', '_').upper()}" for file in files]
    (tmp_path / "mine.csv").write_text("\n".join(["where,what", *rows, "none.png,gizmo"]))
    columns = ("--data", "mine.csv", "--columns", "file=where,label=what,folder=squares")
    logged = ("--log", "tensorboard=all")
    training = ("--steps", "1", "--batch", "2", "--grid", "3x3", "--target", "blue thing", "--no-eot", "--out", "run")
    done = command("train", "--model", model, *columns, *training, *logged)
    assert done.code == 0, done.err
    assert done.err.count("gizmo                  -                        fits none; 1 left out") == 1
    record = RunRecord.of(tmp_path / "run")
    assert record.data is not None and record.data.train + record.data.held_out == 24
    assert record.config["data"]["columns"] == f"file=where,label=what,folder={squares}"
    held_out = {content_id(file) for file in files} - set(record.data.learned_from or ())
    assert command("evaluate", "run", "--json", "-", *logged).code == 0  # its own table again
    assert len(list(Path("all").glob("events*"))) == 2

    def parquet_of(chosen: list[Path]) -> Path:
        pictures = [{"bytes": file.read_bytes(), "path": file.name} for file in chosen]
        return parquet(tmp_path / "theirs.parquet", image=pictures, label=[file.parent.name for file in chosen])

    parquet_of(files)
    command("evaluate", "run", "--data", "theirs.parquet").assert_refused("this run was trained on")
    parquet_of([file for file in files if content_id(file) in held_out])
    done = command("evaluate", "run", "--data", "theirs.parquet", "--json", "-")
    assert done.code == 0 and next(iter(json.loads(done.out).values()))["n"] == record.data.held_out, done.err
    command("evaluate", "run", "--columns", "file=where").assert_refused("give these with --data")
    command("models", "--check", model, *columns[:3], "file=wher").assert_refused("no column 'wher'")


# What is refused


def _csv_of(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "t.csv").write_text(f"file,label\n{name},0\n")
        return folder / "t.csv"

    return make


def _link_out(folder: Path) -> Path:
    picture(folder.parent / "private.png")
    (folder / "link.png").symlink_to(folder.parent / "private.png")
    return _json_of("metadata.jsonl", '{"file_name": "link.png", "label": 1}')(folder)


def _json_of(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "data").mkdir()
        (folder / name).write_text(text)
        return folder

    return make


def _cut_parquet(folder: Path) -> Path:
    path = parquet(folder / "t.parquet", image=[png(0)] * 20, label=[0] * 20)
    path.write_bytes(path.read_bytes()[:-100])
    return path


def _spoilt_parquet(folder: Path) -> Path:
    path = parquet(folder / "t.parquet", image=[png(0)] * 20, label=[0] * 20)
    content = bytearray(path.read_bytes())
    content[10:200] = bytes(190)
    path.write_bytes(content)
    return path


def _cut_arrow(folder: Path) -> Path:
    datasets.Dataset.from_dict({"image": [png(0)], "label": [0]}).save_to_disk(folder / "s")
    (file,) = (folder / "s").glob("*.arrow")
    file.write_bytes(file.read_bytes()[:-200])
    return folder / "s"


def _state_that_leads_out(folder: Path) -> Path:
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../../x.arrow"}]}))
    return folder


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an absolute path": (_json_of("metadata.jsonl", '{"file_name": "/etc/passwd", "label": 1}'), "is not in"),
    "a null character": (_csv_of("a\0.png"), "is no name of a file|is not a CSV file"),
    "a link out of the folder": (_link_out, "'link.png' is not in"),
    "a million columns": (
        lambda f: _written(f / "t.csv", ",".join("abcdefgh" for _ in range(10**6))),
        "too long a first",
    ),
    "two thousand columns": (
        lambda f: _written(f / "t.csv", f"{'a,' * 2000}\n"),
        "2001 columns|has 2 columns|needs the",
    ),
    "no text": (lambda f: _written(f / "t.csv", b"\xff\xfe\x00\x01" * 40), "is not a CSV file in UTF-8"),
    "a label that is a list": (
        _json_of("metadata.jsonl", '{"file_name": "a.png", "label": [1]}'),
        "neither a name nor",
    ),
    "metadata that climbs": (_json_of("metadata.jsonl", '{"file_name": "../a.png", "label": 1}'), "is not in"),
    "metadata that is no JSON": (_json_of("metadata.jsonl", "{"), "is not JSON Lines"),
    "metadata that is no object": (_json_of("metadata.jsonl", "[1]"), "is not JSON Lines"),
    "deep metadata": (_json_of("metadata.jsonl", "[" * 100_000), "is not JSON Lines"),
    "no samples": (_json_of("samples.json", "{}"), "is not such an export of FiftyOne"),
    "samples that are no list": (_json_of("samples.json", '{"samples": 3}'), "is not such an export"),
    "samples that are no JSON": (_json_of("samples.json", "{"), "is not valid JSON"),
    "a sample that climbs": (
        _json_of("samples.json", '{"samples": [{"filepath": "../a.png", "ground_truth": null}]}'),
        "is not in",
    ),
    "labels without a picture": (_json_of("labels.json", '{"labels": {"x": "cat"}}'), "no such picture"),
    "labels that climb": (_json_of("labels.json", '{"labels": {"../../x": "cat"}}'), "is not in"),
    "half a parquet file": (_cut_parquet, "is damaged or cut off"),
    "a spoilt parquet file": (_spoilt_parquet, "is damaged or cut off"),
    "no parquet file": (lambda f: _written(f / "t.parquet", "PAR1"), "is damaged or cut off"),
    "parquet that climbs": (lambda f: parquet(f / "t.parquet", file=["../x.png"], label=[0]), "is not in"),
    "parquet without pictures": (lambda f: parquet(f / "t.parquet", image=[3], label=[0]), "holds no picture"),
    "parquet with other bytes": (
        lambda f: parquet(f / "t.parquet", image=[b"MZ" * 9]),
        "row 1 .it is not a known kind",
    ),
    "parquet of many columns": (
        lambda f: parquet(f / "t.parquet", **{f"c{i}": [0] for i in range(1500)}),
        "has 1500 columns; expected at most 1000",
    ),
    "half an arrow file": (_cut_arrow, "is damaged or cut off"),
    "a state that leads out": (_state_that_leads_out, "is not in"),
    "a state that is no JSON": (lambda f: _written(f / "state.json", "{").parent, "is not valid JSON"),
    "a state without files": (lambda f: _written(f / "state.json", "{}").parent, "has no _data_files"),
    "no video": (lambda f: _written(f / "x.mp4", b"no video" * 99).parent, "broken video"),
    "half a video": (lambda f: _cut(video(f / "x.mp4", 0)).parent, "broken video"),
    "a playlist": (lambda f: _written(f / "x.mp4", "#EXTM3U\n#EXTINF:1,\n/etc/passwd\n").parent, "broken video"),
    "another file": (lambda f: _written(f / "x.zip", b"PK"), "is no data set that can be read"),
}


def _written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _cut(path: Path) -> Path:
    return _written(path, path.read_bytes()[: path.stat().st_size // 3])


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    (tmp_path / "set").mkdir()
    make, words = HOSTILE[case]
    with pytest.raises(InputError, match=words) as refused:
        list_photos(str(make(tmp_path / "set")), NAMES)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500


def test_giant_pictures_in_a_table_are_refused(tmp_path: Path) -> None:
    write_huge_png(tmp_path / "huge.png", 12_000)
    table = parquet(tmp_path / "t.parquet", image=[(tmp_path / "huge.png").read_bytes()], label=[0])
    with pytest.raises(InputError, match=r"row 1 .*12000x12000 pixels; expected at most 120 megapixels"):
        list_photos(str(table), NAMES)


def test_every_format_is_described() -> None:
    assert {"csv", "fiftyone", "folders", "imagefolder", "parquet", "saved-dataset", "videos"} == set(FORMATS)
    assert all(len(kind.summary) < 90 for kind in FORMATS.values())
    assert isinstance(Photo(Path("a"), 0).origin, Path)
