"""The embedded sign detector: its scenes, its weights, and that it sees what it says, as ultralytics itself would."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detector_parity import compare, lively_checkpoint
from detector_transfer import Bench as TransferBench
from safetensors import safe_open
from torchvision.ops import box_iou

from calibration.common.errors import InputError
from calibration.common.pictures import read_picture
from calibration.sheet.road_signs import RED, SIGNS, Lettering, sign, stop
from captures.report.blocks import Text
from captures.report.run_part import _on_object as on_object
from captures.sources.held_sheet import RigPose
from captures.sources.virtual_rig import RigTruth, VirtualRig
from physpatch.commands.results import show_results
from physpatch.data.photographs import list_photos, load_photos, photos_for
from physpatch.records.config import TrainConfig
from physpatch.records.patch_exchange import drawing
from physpatch.records.patch_file import Patch
from physpatch.training.run import measure_patch
from physpatch.training.sign_detector.scenes import NAMES, SceneMaker
from physpatch.training.sign_detector.train import load, mean_precision, save, training_loss
from physpatch.training.sign_detector.train import main as train_detector
from physpatch.victims.families.signs.network import WEIGHTS, new_network, trained_network
from physpatch.victims.families.ultralytics_detectors import import_ultralytics
from physpatch.victims.registry import load_detector, load_victim
from printouts import print_on_sign

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """The samples, none of which the training saw."""
    return [load(photo.path) for photo in list_photos("samples", None)]


@pytest.fixture(scope="module")
def detector():
    return load_detector("signs")


def test_scenes_are_the_same_for_a_seed_and_show_what_they_say(photographs: list[np.ndarray]) -> None:
    images, truths = SceneMaker(photographs, 3).batch(12, 160)
    again, same = SceneMaker(photographs, 3).batch(12, 160)
    assert torch.equal(images, again) and all(torch.equal(a.boxes, b.boxes) for a, b in zip(truths, same, strict=True))
    assert images.shape == (12, 3, 160, 160) and float(images.min()) >= 0 and float(images.max()) <= 1
    shown = torch.cat([truth.boxes for truth in truths])
    classes = torch.cat([truth.classes for truth in truths])
    assert len(shown) == len(classes) > 5 and classes.min() >= 0 and classes.max() < len(NAMES)
    assert (shown[:, 2:] > shown[:, :2]).all() and shown.min() >= 0 and shown.max() <= 160
    other, _ = SceneMaker(photographs, 4).batch(12, 160)
    assert not torch.equal(images, other)


def test_scenes_hold_near_signs_and_signs_in_the_dark_and_in_headlights(photographs: list[np.ndarray]) -> None:
    size = 192
    images, truths = SceneMaker(photographs, 5).batch(40, size)
    light, sides = [], []
    for image, truth in zip(images, truths, strict=True):
        for left, top, right, bottom in truth.boxes.round().long().tolist():
            light.append(float(image[:, top : bottom + 1, left : right + 1].amax(dim=0).mean()))
            sides.append(max(right - left, bottom - top) / size)
    assert len(light) >= 40
    assert min(light) < 0.2 and max(light) > 0.8 and np.median(light) > 0.35
    assert np.mean(np.array(sides) > 0.5) > 0.1 and np.mean(np.array(sides) < 0.25) > 0.3
    assert np.mean(images.numpy().mean(axis=(1, 2, 3)) < 0.15) > 0.05  # whole scenes at night


def test_letters_of_stop_signs_vary_and_the_drawing_has_its_own() -> None:
    usual, bold = stop().draw(64), stop(Lettering(height=0.4, pen=0.3)).draw(64)
    white = [int((drawn[..., :3].min(axis=-1) > 200).sum()) for drawn in (usual, bold)]
    assert white[1] > 1.2 * white[0]
    assert np.array_equal(usual, SIGNS["stop"]().draw(64))


def test_a_step_of_its_training_has_a_gradient_everywhere(photographs: list[np.ndarray]) -> None:
    torch.manual_seed(0)
    network = new_network()
    images, truths = SceneMaker(photographs, 0).batch(2, 96)
    loss, words = training_loss(network, (images * 255).byte(), truths)
    loss.backward()
    gradients = [p.grad for p in network.parameters() if p.requires_grad]
    assert torch.isfinite(loss) and "loss" in words
    assert sum(g is not None and bool(g.abs().sum() > 0) for g in gradients) > 0.9 * len(gradients)


def test_its_weights_are_small_plain_numbers_with_their_recipe() -> None:
    assert WEIGHTS.stat().st_size <= 7e6
    with safe_open(WEIGHTS, "pt") as file:
        recipe = json.loads(file.metadata()["physpatch_signs"])
        kinds = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    assert kinds <= {torch.float16, torch.int64}
    assert recipe["classes"] == list(SIGNS) and recipe["seed"] == 0 and recipe["map50"] >= 0.8
    victim = load_victim("signs")
    assert (victim.task, victim.categories, victim.weights.source) == ("detect", tuple(SIGNS), "embedded")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="does not hold weights for the detector of signs"):
        load_victim("signs", weights=tmp_path / "other.pth")
    with pytest.raises(InputError, match="no weights file"):
        trained_network(tmp_path / "gone.safetensors")


def test_signs_are_found_in_scenes_that_training_never_saw(photographs: list[np.ndarray]) -> None:
    for varied, scenes, least in ((False, 128, 0.8), (True, 64, 0.7)):  # 27 photographs: it scatters
        assert mean_precision(trained_network(), photographs, scenes=scenes, varied=varied)["map50"] >= least


def test_the_stop_sign_is_found_in_the_virtual_rig_from_one_to_four_metres(detector, tmp_path: Path) -> None:
    """15 cm wide: 83 to 21 pixels of the frame."""
    sheet, wall = tmp_path / "sheet.pdf", tmp_path / "wall.png"
    red = Patch(np.full((1, 1, 3), RED, np.uint8), None, {})  # a sheet needs a patch: one that does not show
    print_on_sign(red, "stop", 150, sheet, share=0.01, at=(0.5, 0.2))
    picture = cv2.resize(cv2.imread(str(list_photos("samples", None)[0].path)), (640, 480))
    cv2.imwrite(str(wall), picture)
    found, shown = 0, 0
    for seed in range(2):
        rig = VirtualRig(sheet, [(wall, None)], truth=replace(RigTruth.draw(seed), vignette=0.1))
        for distance in (1.0, 2.0, 3.0, 4.0):
            for yaw in (-25.0, 0.0, 25.0):
                pose, rng = RigPose(distance, 0.05 * distance, 0.02 * distance, yaw, 5, 3), np.random.default_rng(seed)
                frame = rig.render(0, pose, rig.background(wall), rng)
                reach = 1000 * 0.075 / (1000 * distance) * rig.intrinsics.fx
                middle = 320 + 0.05 * rig.intrinsics.fx, 240 + 0.02 * rig.intrinsics.fx
                near = [
                    one
                    for one in detector.detect(frame)
                    if one.index == 0
                    and abs((one.xyxy[0] + one.xyxy[2]) / 2 - middle[0]) < reach
                    and abs((one.xyxy[1] + one.xyxy[3]) / 2 - middle[1]) < 2 * reach
                ]
                shown += 1
                found += bool(near)
    assert found >= 0.9 * shown


def test_boxes_are_those_of_ultralytics_own_prediction(detector, photographs: list[np.ndarray], tmp_path: Path) -> None:
    import_ultralytics()
    from ultralytics import YOLO

    torch.save({"model": trained_network(), "train_args": {"imgsz": 640}}, tmp_path / "signs.pt")
    own = YOLO(tmp_path / "signs.pt")
    images, _ = SceneMaker(photographs, 11).batch(6, 480)
    compared = 0
    for image, (height, width) in zip(
        images, ((480, 480), (360, 480), (480, 400), (333, 479), (700, 520), (900, 1300)), strict=True
    ):
        frame = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        frame = cv2.resize(frame, (width, height))
        settings = {"imgsz": 640, "conf": 0.25, "agnostic_nms": True, "verbose": False, "device": "cpu"}
        theirs = own.predict(frame[..., ::-1], **settings)[0].boxes
        ours = detector.detect(frame)
        assert [one.index for one in ours] == theirs.cls.int().tolist()
        assert [one.score for one in ours] == pytest.approx(theirs.conf.tolist(), abs=0.01)
        if ours:
            overlap = box_iou(torch.tensor([one.xyxy for one in ours]), theirs.xyxy)
            assert overlap.diagonal().min() >= 0.99
        compared += len(ours)
    assert compared >= 4


@pytest.mark.parametrize("architecture", ["yolov8n", "yolo11n", "yolo26n"])
def test_every_generation_of_yolo_gives_the_boxes_of_its_own_prediction(architecture: str, tmp_path: Path) -> None:
    """On photographs of many shapes, with random weights that find much; benchmarks/detector_parity.py does it on coco128."""
    pictures = [read_picture(photo.path) for photo in list_photos("samples", None)[-7:]]
    file = tmp_path / f"{architecture}_random.pt"
    lively_checkpoint(architecture, pictures[:4], 160, file)
    theirs, ours, same = compare(file, pictures)
    assert theirs >= 50 and abs(ours - theirs) <= 0.005 * theirs and same >= 0.995 * ours


@pytest.fixture
def two_generations(tmp_path: Path) -> list[Path]:
    """The embedded detector, and a network of the next generation that learned nothing, each as a checkpoint."""
    save(trained_network(), {}, tmp_path / "8n.pt")
    save(new_network("yolo11n.yaml").eval(), {}, tmp_path / "11n.pt")
    return [tmp_path / "8n.pt", tmp_path / "11n.pt"]


def test_another_generation_learns_the_same_signs_and_is_saved_as_ultralytics_does(two_generations: list[Path]) -> None:
    eighth, eleventh = (load_detector(str(file)) for file in two_generations)
    assert eighth.categories == eleventh.categories == tuple(SIGNS)
    layers = [{type(module).__name__ for module in victim.module.modules()} for victim in (eighth, eleventh)]
    assert "C3k2" in layers[1] and "C3k2" not in layers[0]


def test_another_network_is_not_written_over_the_embedded_weights(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["train", "--data", "samples", "--work", "work", "--network", "yolo11n"])
    with pytest.raises(SystemExit):
        train_detector()
    assert "--network yolo11n needs --out FILE.pt" in capsys.readouterr().err


def test_a_network_that_ultralytics_does_not_know_is_refused_in_one_line(monkeypatch, capsys, tmp_path) -> None:
    arguments = ["--data", "nowhere", "--work", str(tmp_path), "--network", "yolo99x", "--out", str(tmp_path / "x.pt")]
    monkeypatch.setattr("sys.argv", ["train", *arguments])
    with pytest.raises(SystemExit):
        train_detector()
    assert "ultralytics has no network yolo99x" in capsys.readouterr().err


def test_a_patch_is_measured_on_the_detector_that_is_left_out(two_generations: list[Path], tmp_path: Path) -> None:
    detectors = {file.stem: load_detector(str(file)) for file in two_generations}
    config = TrainConfig.of(object="stop", target="none", grid=(4, 4), steps=2, batch=2)
    bench = TransferBench(detectors, dict.fromkeys(detectors, "the file's"), config, (0.4, 1.2), 4, tmp_path / "kept")
    told = bench.point("8n", config)
    assert told["left_out"] == "8n" and list(told["on_trained"]) == ["11n"]
    assert told["on_left_out"]["lost"]["n"] == 4 * told["on_left_out"]["found"]["grey"] > 0
    assert told["on_trained"]["11n"]["found"]["grey"] == 0
    assert bench.point("8n", config) == told  # from what is kept


def test_a_sign_that_is_taken_for_another_is_measured_with_a_drawing_of_that_one(detector, capsys) -> None:
    """With the drawing itself as the patch, so that both do the same; with grey cells there is nothing to draw."""
    config = TrainConfig.of(object="stop", target="none")
    config = config.changed(eot=config.eot.changed(scale=(0.15, 0.4)))
    photographs = load_photos(photos_for(detector, "samples")[:12], detector.preprocessing)
    steps: list[tuple[int, int]] = []
    told, plain = (
        measure_patch(detector, photographs, patch, config, seed=1, poses=1, progress=lambda *step: steps.append(step))
        for patch in (drawing("no entry", (10, 10)), Patch(np.full((10, 10, 3), 128, np.uint8)))
    )
    assert steps.count((12, 12)) == 3  # twice with what it is taken for
    record, nothing = told.to_record(), plain.to_record()
    assert record.drawn_sign is not None and nothing.drawn_sign is None
    assert record.drawn_sign.sign == "no entry" and record.drawn_sign.lost == record.untargeted_success
    assert record.drawn_sign.lost.n > 0 and record.drawn_sign.lost.rate > 0.5
    assert set(record.drawn_sign.by_sign) == set(SIGNS) - {"stop"}
    assert record.drawn_sign.by_sign["no entry"] == record.drawn_sign.lost
    rates = [lost.rate for _, lost in record.drawn_sign.by_effect]
    assert rates == sorted(rates, reverse=True) and min(rates) < max(rates)
    show_results({"signs": record, "plain": nothing})
    shown = " ".join(capsys.readouterr().out.split())
    assert "signs: of 'no entry', which the sign is taken for" in shown and "plain: of" not in shown
    words = " ".join(block.text for block in on_object(record) if isinstance(block, Text))
    assert "most often taken for “no entry”" in words and not [b for b in on_object(nothing) if isinstance(b, Text)]


def test_a_drawing_of_another_sign_is_a_patch_like_any() -> None:
    cells = drawing("no entry", (10, 10)).cells.astype(int)
    red, white = cells[0], cells[5]
    assert cells.shape == (10, 10, 3) and white.min() > 200 and (red[:, 0] - red[:, 1] > 100).all()
    bar = (sign("no entry").draw(400)[:, 200, 1] > 128).sum() / 400
    assert (drawing("no entry", (40, 40)).cells[:, 20, 1] > 128).mean() == pytest.approx(bar / 0.7, abs=0.03)
