"""Boxes of photographs' objects: read from YOLO's files and COCO's JSON, and a patch put on them or beside them."""

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from support import colour_detector, vivid_patch

from calibration.common.errors import InputError
from physpatch.attack.objectives import choose_objective
from physpatch.attack.placement import AttackRegion, Placement
from physpatch.data.annotations import read_annotations
from physpatch.data.batch_sampler import BatchSource
from physpatch.data.photographs import load_photographs, load_photos, photos_for, split
from physpatch.evaluation.classification import scenes
from physpatch.evaluation.detection import evaluate_on_object
from physpatch.records.config import TrainConfig, parse_place
from physpatch.records.eot_config import EotConfig
from physpatch.rendering.eot import sample
from physpatch.training.trainer import Trainer

COCO128 = Path(os.environ.get("PHYSPATCH_COCO128", "coco128"))
RED = (40, 100, 104, 164)  # left, top, right, bottom in pixels of 160 × 240 photographs
CONFIG = TrainConfig.of(
    object="stop",
    object_from="labels",
    object_share=0.6,
    steps=25,
    batch=8,
    eot=EotConfig.preset("mild").changed(rotation_deg=(-3.0, 3.0)),
)


def photograph(file: Path, *boxes: tuple[int, int, int, int]) -> None:
    """A grey upright photograph with red squares."""
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full((240, 160, 3), 110, np.uint8)
    for left, top, right, bottom in boxes:
        picture[top:bottom, left:right] = (20, 20, 250)
    cv2.imwrite(str(file), picture)


def yolo_line(number: int, box: tuple[int, int, int, int]) -> str:
    left, top, right, bottom = box
    return f"{number} {(left + right) / 320} {(top + bottom) / 480} {(right - left) / 160} {(bottom - top) / 240}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As coco128 is laid out: a red square low on the left in ten photographs, a second in one, and none in the last."""
    for i in range(11):
        boxes = [RED] if i < 10 else []
        if i == 0:
            boxes.append((92, 20, 154, 82))
        photograph(tmp_path / f"images/train/{i:02}.png", *boxes)
        lines = "".join(yolo_line(1, box) for box in boxes) + yolo_line(0, (0, 0, 160, 240))
        text = tmp_path / f"labels/train/{i:02}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(lines)
    (tmp_path / "data.yaml").write_text("names:\n  0: everything\n  1: Stop\n")
    return tmp_path


def test_each_object_comes_once_with_its_photograph(folder: Path) -> None:
    victim = colour_detector()
    objects = photos_for(victim, str(folder), "stop")
    assert len(objects) == 11 and len({photo.path for photo in objects}) == 10  # the last photograph has none
    first, second, *_ = objects
    assert first.path == second.path and first.boxes == second.boxes[::-1]
    assert np.array(first.boxes[0]) * (160, 240, 160, 240) == pytest.approx(RED)
    loaded = load_photos(objects, victim.preprocessing)
    assert loaded.images.shape == (11, 3, 96, 96) and loaded.objects is not None
    # letterboxed: 96 pixels high, 64 wide, 16 from the left
    assert loaded.objects[0].tolist() == pytest.approx([32, 40, 57.6, 65.6], abs=0.01)
    assert loaded.units.tolist()[:3] == [0, 0, 1]
    assert (loaded.images[1, :, :, 0] == 114).all() and int(loaded.images[1, 0, 53, 45]) > 200
    train, held_out = split(objects, 0.5, by_label=False)
    assert not {p.path for p in train} & {p.path for p in held_out} and len(train) + len(held_out) == 11


def test_cocos_json_says_the_same(folder: Path, tmp_path: Path) -> None:
    images = sorted((folder / "images/train").glob("*.png"))
    yolo = read_annotations(folder, images, ())
    left, top, right, bottom = RED
    coco = {
        "images": [{"id": 7, "file_name": "train/05.png", "width": 160, "height": 240}],
        "categories": [{"id": 3, "name": "Stop"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [left, top, right - left, bottom - top], "iscrowd": 0},
            {"image_id": 7, "category_id": 3, "bbox": [0, 0, 160, 240], "iscrowd": 1},
        ],
    }
    (folder / "annotations").mkdir()
    (folder / "annotations/instances.json").write_text(json.dumps(coco))
    (folder / "notes.json").write_text("[1, 2]")  # something else
    both = read_annotations(folder, images, ())
    assert len(both[images[5]]) == 1 and both[images[6]] == yolo[images[6]]
    assert both[images[5]][0].box == pytest.approx(yolo[images[5]][0].box)
    photograph(folder / "images/val/05.png")
    other = folder / "images/val/05.png"
    assert set(read_annotations(folder, [*images, other], ())) == set(both)  # the name's folder tells which
    coco["images"][0]["file_name"] = "05.png"
    (folder / "annotations/instances.json").write_text(json.dumps(coco))
    assert read_annotations(folder, images, ()) == both
    with pytest.raises(InputError, match=r"labels '05.png', and there are several: .*; write names with folders"):
        read_annotations(folder, [*images, other], ())
    coco["annotations"][0].pop("bbox")
    (folder / "annotations/instances.json").write_text(json.dumps(coco))
    with pytest.raises(InputError, match="is not a valid COCO annotation file"):
        read_annotations(folder, images, ())


def test_files_of_coco_that_label_the_same_picture_add_up(folder: Path) -> None:
    """As COCO's own folder has them: persons with their keypoints are among the objects, in a file of their own, too."""
    images = sorted((folder / "images/train").glob("*.png"))
    person = {"image_id": 7, "category_id": 1, "bbox": [0, 0, 80, 120]}
    chair = {"image_id": 7, "category_id": 2, "bbox": [40, 60, 80, 120]}
    coco = {
        "images": [{"id": 7, "file_name": "train/05.png", "width": 160, "height": 240}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "chair"}],
    }
    (folder / "annotations").mkdir()
    for name, entries in (("instances_val2017", [person, chair]), ("person_keypoints_val2017", [person])):
        (folder / f"annotations/{name}.json").write_text(json.dumps(coco | {"annotations": entries}))
    labelled = read_annotations(folder, images, ())[images[5]]
    assert [annotation.name for annotation in labelled] == ["person", "chair"]


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("1 0.1 0.1 0.3 0.1 0.3 0.5", (0.1, 0.1, 0.3, 0.5)),
        ("1 0.1 0.1 0.3 0.1 0.3 0.5 0.1 0.5", (0.1, 0.1, 0.3, 0.5)),
        ("1 0.2 0.3 0.2 0.4 0.87", (0.1, 0.1, 0.3, 0.5)),  # with a confidence
        ("1 0.5 0.5 1.004 1.0", (-0.002, 0.0, 1.002, 1.0)),  # rounded
    ],
)
def test_polygons_and_confidences_of_yolo(text: str, box: tuple[float, ...], folder: Path) -> None:
    (folder / "labels/train/03.txt").write_text(text)
    images = sorted((folder / "images/train").glob("*.png"))
    assert read_annotations(folder, images, ())[images[3]][0].box == pytest.approx(box)


@pytest.mark.parametrize(
    "text",
    ["1 320 240 100 80", "1 0.5 0.5 nan 0.1", "1 0.5 0.5 0.1 0", "1 0.5 0.5 -0.1 0.1", "1 0.1 0.1 0.3", "1 0.1 " * 4],
)
def test_labels_that_are_no_shares_of_the_image_are_refused(text: str, folder: Path) -> None:
    (folder / "labels/train/03.txt").write_text(text)
    with pytest.raises(InputError, match=r"03.txt line 1: .* is not a class and a box; .*shares of the image"):
        photos_for(colour_detector(), str(folder), "stop")


def test_other_peoples_yaml_files_are_passed_over(folder: Path) -> None:
    (folder / "a.yaml").write_text("when: 2024-13-45\n")
    (folder / "b.yaml").mkdir()
    (folder / "c.yaml").symlink_to(folder / "gone.yaml")
    assert photos_for(colour_detector(), str(folder), "stop")


def test_labels_that_cannot_be_used_say_why(folder: Path) -> None:
    victim = colour_detector()
    with pytest.raises(InputError, match="unknown object 'bus'; known: Stop, everything"):
        photos_for(victim, str(folder), "bus")
    text = folder / "labels/train/03.txt"
    text.write_text("1 0.5 0.5 oops 0.1")
    with pytest.raises(InputError, match=r"03.txt line 1: .* is not a class and a box"):
        photos_for(victim, str(folder), "stop")
    text.write_text("7 0.5 0.5 0.1 0.1")
    with pytest.raises(InputError, match="the class from 0 to 1"):
        photos_for(victim, str(folder), "stop")
    (folder / "data.yaml").unlink()
    for file in (folder / "labels/train").glob("*.txt"):
        file.write_text(yolo_line(0, RED))
    assert len(photos_for(victim, str(folder), "stop")) == 11  # numbers are then the detector's own


@pytest.mark.parametrize("at", [(0.5, 0.5), (0.25, 0.75), (-0.4, 0.5)])
def test_the_patch_lies_where_the_box_says(folder: Path, at: tuple[float, float]) -> None:
    victim = colour_detector()
    photographs = load_photos(photos_for(victim, str(folder), "stop"), victim.preprocessing)
    placement = Placement.of(CONFIG.changed(object_at=at))
    still = EotConfig.none()
    (scene,) = scenes(victim, photographs, placement, still, seed=0)
    boxes = placement.patch_boxes(scene.params, 96)
    assert photographs.objects is not None
    own = photographs.objects
    side = own[:, 2:] - own[:, :2]
    wanted = own[:, :2] + side * torch.tensor(at)
    torch.testing.assert_close((boxes[:, :2] + boxes[:, 2:]) / 2, wanted, atol=0.02, rtol=0)
    torch.testing.assert_close((boxes[:, 2:] - boxes[:, :2]).prod(dim=1), 0.6 * side.prod(dim=1), rtol=0.01, atol=0)
    white = scene.placement.compose(scene.images, torch.ones(3, 10, 10), scene.params)
    changed = (white - scene.images).abs().amax(dim=1) > 0.2
    for mask, box in zip(changed, boxes, strict=True):
        y, x = mask.nonzero().float().unbind(dim=1)
        assert [float(x.min()), float(y.min())] == pytest.approx(box[:2].tolist(), abs=1.6)
        assert [float(x.max()), float(y.max())] == pytest.approx(box[2:].tolist(), abs=1.6)


def test_boxes_follow_the_crop_and_the_mirror(folder: Path) -> None:
    victim = colour_detector()
    train, _ = load_photographs(str(folder), victim, held_out=0.2, labelled="stop")
    images, chosen, objects = BatchSource(victim, train, 40).draw(torch.Generator().manual_seed(0))
    assert objects is not None and len({tuple(box) for box in objects[chosen == 5].tolist()}) == 2
    for image, (left, top, right, bottom) in zip(images, objects.round().int().tolist(), strict=True):
        assert float(image[0, top + 2 : bottom - 2, left + 2 : right - 2].min()) > 0.8


def test_a_patch_on_labelled_objects_hides_them_and_photographs_are_the_units(folder: Path) -> None:
    victim = colour_detector()
    train, held_out = load_photographs(str(folder), victim, held_out=0.5, labelled="stop")
    trainer = Trainer(victim, train, CONFIG)
    losses = [record.loss for record in trainer]
    assert losses[-1] < 0.5 * losses[0]
    told = evaluate_on_object(
        victim, held_out, trainer.patch, AttackRegion.of(CONFIG, "detect", None), eot=CONFIG.eot, poses=4
    )
    assert told.untargeted["patch"].n == len(held_out.units.unique()) and told.n == len(held_out)
    rate = told.untargeted["patch"].rate
    assert told.accuracy["grey"] >= 0.8 and rate is not None and rate > 0.5 > (told.untargeted["random"].rate or 0)


def test_photographs_of_labelled_objects_are_shown_once_without_a_patch(folder: Path) -> None:
    victim = colour_detector()
    _, held_out = load_photographs(str(folder), victim, held_out=0.5, labelled="stop")
    shown: list[int] = []
    watched = replace(victim, guard=lambda images: shown.append(len(images)) or images)
    region = AttackRegion.of(CONFIG, "detect", None)
    told = evaluate_on_object(watched, held_out, vivid_patch(), region, eot=CONFIG.eot, poses=3)
    assert sum(shown) == len(held_out) * (1 + 3 * 4)  # of these, the patch and three controls in every pose
    once = evaluate_on_object(victim, held_out, vivid_patch(), region, eot=CONFIG.eot)
    assert told.clean_accuracy == once.clean_accuracy > 0


def test_goals_and_scopes() -> None:
    def region(target: int | None, **more) -> tuple[str, str]:
        made = AttackRegion.of(CONFIG.changed(**more), "detect", target)
        return made.goal, made.kind

    assert region(None) == ("hide", "object") and region(1) == ("relabel", "object")
    assert region(1, goal="appear") == ("appear", "patch") and region(None, scope="image") == ("hide", "image")
    alone = {"object": None, "object_from": "auto"}
    assert region(1, **alone) == ("appear", "patch") and region(1, scope="image", **alone) == ("appear", "image")
    assert region(None, **alone) == ("hide", "image")
    for target, goal, words in ((1, "hide", "takes no target class"), (None, "appear", "needs a class to detect")):
        with pytest.raises(InputError, match=words):
            region(target, goal=goal)
    with pytest.raises(InputError, match="goal relabel needs an object"):
        region(1, goal="relabel", **alone)
    with pytest.raises(InputError, match="goal appear is for detectors"):
        choose_objective("classify", 1, goal="appear")
    with pytest.raises(InputError, match="unknown scope 'road'"):
        CONFIG.changed(scope="road")
    drawn, person = CONFIG.changed(object_from="auto"), CONFIG.changed(object="person", object_from="auto")
    assert (CONFIG.object.drawn_sign, CONFIG.object.labelled) == (None, "stop")
    assert (drawn.object.drawn_sign, drawn.object.labelled) == ("stop", None)
    assert (person.object.drawn_sign, person.object.labelled) == (None, "person")
    assert person.changed(object_from="drawn").object.drawn_sign == "person"  # refused by name where it is drawn
    assert parse_place("1.4,0.5") == (1.4, 0.5)


def test_a_phantom_counts_at_the_patch_and_not_elsewhere(folder: Path) -> None:
    """A crossing that stands in the photograph anyway is none of the patch's doing, unless anywhere is asked for."""
    victim = colour_detector()
    photographs = load_photos(photos_for(victim, str(folder), "stop"), victim.preprocessing)
    images = photographs.images.clone()
    images[:, :, :24, 48:72] = torch.tensor([20, 20, 250], dtype=torch.uint8)[
        :, None, None
    ]  # blue, far from the object
    photographs = replace(photographs, images=images)
    config = CONFIG.changed(goal="appear", object_at=(1.5, 0.5), object_share=0.8)
    trainer = Trainer(victim, photographs, config.changed(steps=15), 1)
    assert trainer.term_names == ("appear",) and len(list(trainer)) == 15
    grey = replace(trainer.patch.control("grey"), target=trainer.patch.target)
    here, anywhere = (
        evaluate_on_object(victim, photographs, grey, AttackRegion.of(config.changed(scope=scope), "detect", 1))
        for scope in ("patch", "image")
    )
    assert here.success.targeted is not None and anywhere.success.targeted is not None
    assert not here.success.targeted.any() and anywhere.success.targeted.all()


def test_aiming_without_objects_changes_nothing() -> None:
    params = sample(EotConfig(), 3, torch.Generator().manual_seed(0))
    assert Placement(0.1).aimed(params, None, 96) is params


@pytest.mark.skipif(not COCO128.is_dir(), reason="PHYSPATCH_COCO128 names no folder with ultralytics' coco128")
@pytest.mark.filterwarnings("ignore")
def test_coco128_is_read_as_it_is_laid_out() -> None:
    """Names from its yaml, two folders of labels: boxes lie in their photographs."""
    victim = replace(colour_detector(), categories=("person",))
    people = photos_for(victim, str(COCO128), "person")
    assert len(people) > 100 and len({photo.path.parent.name for photo in people}) == 2
    for photo in people:
        for left, top, right, bottom in photo.boxes:
            assert -0.01 <= left < right <= 1.01 and -0.01 <= top < bottom <= 1.01
    part = str(COCO128 / "images/train2017")  # the yaml is found above it
    assert len(photos_for(victim, part, "bus")) >= 1
    with pytest.raises(
        InputError, match=r"none of the \d+ objects 'stop sign' labelled in .* covers 1 % of its photograph"
    ):
        photos_for(victim, part, "stop sign")
