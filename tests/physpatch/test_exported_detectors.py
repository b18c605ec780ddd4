"""Detectors in the forms in which they are exported: each file, function and endpoint finds the boxes of its network."""

import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import (
    DETECTOR_PX,
    AllBoxes,
    BoxesApart,
    ChosenBoxes,
    OneApart,
    Product,
    save_program,
    save_rtdetr,
    served,
)
from support import DETECTED, HELPERS
from torch import nn

from calibration.common.errors import InputError
from calibration.sheet.road_signs import stop
from physpatch.evaluation.grad_cam import grad_cam, heat_similarity
from physpatch.victims.boxes import Detection
from physpatch.victims.detector import Detector, TableDetector
from physpatch.victims.families import base
from physpatch.victims.families.files.export_notes import ExportNotes
from physpatch.victims.families.signs.network import trained_network
from physpatch.victims.families.ultralytics_detectors import import_ultralytics
from physpatch.victims.networks.box_tables import BoxForm, BoxTable, box_form, box_table, count_classes, finds_boxes
from physpatch.victims.networks.cam_layers import list_cam_layers
from physpatch.victims.networks.outputs import FixedBatch
from physpatch.victims.preprocessing import Adaptation
from physpatch.victims.protocol import WeightsInfo
from physpatch.victims.registry import load_detector, load_victim


@pytest.fixture(scope="module")
def scenes() -> torch.Tensor:
    """Three pictures (3, 3, S, S): a red square, a blue one, and neither; their values are those of 8-bit pictures."""
    images = torch.full((3, 3, DETECTOR_PX, DETECTOR_PX), 128 / 255)
    images[0, :, 24:48, 40:64] = torch.tensor([166, 102, 102])[:, None, None] / 255
    images[1, :, 56:80, 8:32] = torch.tensor([102, 102, 166])[:, None, None] / 255
    return images


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detectors")
    (folder / "labels.txt").write_text("\n".join(DETECTED))
    save_program(AllBoxes(), folder / "all.onnx", DETECTOR_PX)
    save_program(AllBoxes(), folder / "all.pt2", DETECTOR_PX)
    save_program(AllBoxes(), folder / "all.torchscript", DETECTOR_PX, 1)
    save_program(ChosenBoxes(), folder / "chosen.onnx", DETECTOR_PX, 1, dynamic=False)
    save_program(ChosenBoxes(), folder / "chosen.torchscript", DETECTOR_PX)
    save_program(OneApart(), folder / "apart.onnx", DETECTOR_PX, 1, dynamic=False)
    save_program(OneApart(), folder / "apart.pt2", DETECTOR_PX, 1, dynamic=False)
    (folder / "own_detectors.py").write_text(
        "from model_files import BoxesApart\ndef apart():\n    return BoxesApart()\n"
    )
    return folder


@pytest.fixture
def product() -> Iterator[str]:
    with served() as address:
        yield address


def found(victim: Detector, images: torch.Tensor) -> list[tuple[int, list[int]]]:
    """The most confident box of each image, or none: its class, and its edges."""
    best = [view[0] if view else Detection(-1, 0.0, (0, 0, 0, 0)) for view in victim.find(images)]
    return [(box.index, [round(edge) for edge in box.xyxy]) for box in best]


TRUTH = [(0, [40, 24, 64, 48]), (1, [8, 56, 32, 80]), (-1, [0, 0, 0, 0])]


@pytest.mark.parametrize(
    "file", ["all.onnx", "all.pt2", "all.torchscript", "chosen.onnx", "chosen.torchscript", "apart.onnx", "apart.pt2"]
)
def test_each_form_of_file_finds_the_boxes(file: str, files: Path, scenes: torch.Tensor) -> None:
    (files / "model.toml").write_text(
        f'model = "{file}"\nlabels = "labels.txt"\ntask = "detect"\n[preprocessing]\nsize = {DETECTOR_PX}\n'
    )
    victim = load_victim(str(files / "model.toml"))
    assert isinstance(victim, TableDetector) and victim.categories == DETECTED and victim.threshold == 0.25
    assert found(victim, scenes) == TRUTH
    assert victim.differentiable, victim.remark
    images = scenes.clone().requires_grad_()
    victim.scores(images)[0, 0].backward()
    assert images.grad is not None and float(images.grad[0].abs().sum()) > 0 and not images.grad[1:].any()


def test_a_function_and_an_endpoint_find_the_boxes(
    files: Path, product: str, scenes: torch.Tensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(files)
    monkeypatch.syspath_prepend(str(HELPERS))
    Path("function.toml").write_text(
        f'model = "own_detectors:apart"\nlabels = "labels.txt"\n[preprocessing]\nsize = {DETECTOR_PX}\n'
    )
    assert found(load_victim("function.toml", trust=True, say=lambda _: None), scenes) == TRUTH
    for path, labels in (("boxes", ""), ("boxes-only", 'labels = "labels.txt"\n')):
        Path("product.toml").write_text(
            f'{labels}threshold = 0.5\n[preprocessing]\nsize = {DETECTOR_PX}\n[endpoint]\nurl = "{product}/{path}"\nbatch = 2\n'
        )
        victim = load_victim("product.toml", say=lambda _: None)
        Product.sizes.clear()
        assert found(victim, scenes) == TRUTH and Product.sizes == [2, 1]
        assert victim.categories == DETECTED and victim.threshold == 0.5 and not victim.differentiable
    with pytest.raises(InputError, match="names only boxes; give all classes with --labels"):
        load_victim(f"{product}/boxes-only", say=lambda _: None)
    with pytest.raises(InputError, match="gives predictions only, so there is no Grad-CAM of layer 'norm'"):
        load_victim(f"{product}/boxes", cam_layer="norm", say=lambda _: None)
    with pytest.raises(InputError, match=r"not as documented: boxes\[0\]\[0\]\.box is \[1, 2\]"):
        load_victim(f"{product}/wrong-boxes", say=lambda _: None).find(scenes)


def test_frames_of_any_shape_become_squares(files: Path) -> None:
    """A file for squares of one size gets nothing else; boxes come back in pixels of the frame."""
    victim = load_detector(str(files / "all.onnx"))
    assert victim.categories == ("class 0", "class 1")
    frame = np.full((96, 192, 3), 128, np.uint8)
    frame[16:64, 32:80] = (255, 0, 0)
    assert victim.letterboxed(frame).images.shape == (1, 3, DETECTOR_PX, DETECTOR_PX)
    (best, *_) = victim.detect(frame)
    assert best.index == 0 and best.xyxy == pytest.approx((32, 16, 80, 64), abs=1)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("chosen.onnx", "", "does not say of which classes; name them all, in order, with --labels"),
        ("all.onnx", 'labels = "imagenet"\n', "imagenet names 1000 classes, but the model has 2"),
        ("all.onnx", 'task = "classify"\n', "says task classify, but all is there to detect"),
        ("all.onnx", "[preprocessing]\nsize = 64\n", "takes images of 96 pixels, not of 64"),
        ("all.onnx", "threshold = 1.5\n", "threshold: expected less than 1"),
    ],
)
def test_detectors_that_were_described_wrongly(file: str, text: str, words: str, files: Path) -> None:
    (files / "wrong.toml").write_text(f'model = "{file}"\n{text}')
    with pytest.raises(InputError, match=words):
        load_victim(str(files / "wrong.toml"))


# --- forms of output --------------------------------------------------------------------------------------------------


def test_forms_that_mean_the_same_become_the_same_table() -> None:
    boxes = torch.tensor([[[1.0, 2, 3, 6]], [[2, 2, 8, 4]]])
    scores, labels = torch.tensor([[0.75], [0.5]]), torch.tensor([[1], [0]])
    expected = torch.cat([boxes, torch.tensor([[[0.0, 0.75]], [[0.5, 0.0]]])], dim=2)
    middles = torch.tensor([[[2.0], [4], [2], [4], [0], [0.75]], [[5], [3], [6], [2], [0.5], [0]]])
    padded = torch.cat([middles, torch.zeros(2, 6, 6)], dim=2)
    assert torch.equal(box_table(padded, 2)[:, :1], expected)
    chosen = torch.cat([boxes, scores[..., None], labels[..., None].float()], dim=2).repeat(1, 7, 1)
    assert torch.equal(box_table(chosen, 2)[:, :1], expected)
    assert torch.equal(box_table((labels, boxes, scores), 2), expected)  # told apart by shapes and types
    assert torch.equal(box_table({"scores": scores, "boxes": boxes, "labels": labels}, 2), expected)
    pictures = [{"boxes": b, "scores": s, "labels": n} for b, s, n in zip(boxes, scores, labels, strict=True)]
    assert torch.equal(box_table(({}, pictures), 2), expected)  # torchvision's TorchScript has its losses first
    pictures[1] = {name: values[:0] for name, values in pictures[1].items()}
    assert torch.equal(box_table(pictures, 2)[1], torch.zeros(1, 6))  # one row, of no box
    with pytest.raises(InputError, match="found class 1, but 1 classes are named"):
        box_table(chosen, 1)
    filled = chosen.clone()
    filled[:, 2:, 4:] = torch.tensor([0.0, -1])  # rows of no box, as some exports write them
    assert torch.equal(box_table(filled, 2)[:, :2], box_table(chosen, 2)[:, :2])
    filled[:, 2:, 4] = 0.5
    with pytest.raises(InputError, match="found class -1, but 2 classes are named"):
        box_table(filled, 2)
    with pytest.raises(
        InputError,
        match=r"must answer with boxes \(B, 9, A\), \(B, A, 9\), \(B, A, 10\) or \(B, A, 6\), got \(2, 7, 8\)",
    ):
        box_table(torch.zeros(2, 7, 8), 5)


def test_boxes_by_rows_and_shares_become_the_same_table() -> None:
    """As YOLOv5 and RT-DETR answer; a form that was told once stays, whatever is found later."""
    pixels = torch.tensor([[[20.0, 40, 20, 40], [50, 50, 20, 20], [90, 10, 10, 10]]])  # centre, width and height
    probabilities = torch.tensor([[[0.5, 0.0], [0.2, 0.4], [0.0, 0.1]]])
    corners = torch.tensor([[[10.0, 20, 30, 60], [40, 40, 60, 60], [85, 5, 95, 15]]])
    expected = torch.cat([corners, probabilities], dim=2)
    objects = torch.full((1, 3, 1), 0.5)
    labels = torch.tensor([[[0.0], [1], [1]]])
    best = probabilities.amax(dim=2, keepdim=True)
    chosen = torch.cat([corners, torch.zeros_like(probabilities).scatter(2, labels.long(), best)], dim=2)
    for name, output, kind, table in (
        ("rows", torch.cat([pixels, probabilities], dim=2), "rows", expected),
        ("RT-DETR before 8.4", torch.cat([pixels / 100, probabilities], dim=2), "rows", expected),
        ("columns", torch.cat([pixels / 100, probabilities], dim=2), "columns", expected),
        ("YOLOv5", torch.cat([pixels, objects, probabilities / objects], dim=2), "objects", expected),
        ("RT-DETR", torch.cat([pixels / 100, best, labels], dim=2), "chosen", chosen),
        ("corners as shares", torch.cat([corners / 100, best, labels], dim=2), "chosen", chosen),
        ("corners", torch.cat([corners, best, labels], dim=2), "chosen", chosen),
    ):
        padded = torch.cat([output, torch.zeros(1, 4, output.shape[2])], dim=1)
        given = padded.transpose(1, 2) if kind == "columns" else padded
        form = box_form(given, 2)
        assert form.kind == kind, name
        torch.testing.assert_close(box_table(given, 2, form, 100)[:, :3], table, msg=name)
        torch.testing.assert_close(box_table(given, 2, form, 50)[:, :3, 4:], table[..., 4:], msg=name)
        fewer = given[..., :2] if kind == "columns" else given[:, :2]
        torch.testing.assert_close(box_table(fewer, 2, form, 100), table[:, :2], msg=name)
        none = given[..., :0] if kind == "columns" else given[:, :0]
        assert torch.equal(box_table(none, 2, form, 100), torch.zeros(1, 1, 6)), name
    one = torch.cat([pixels, objects, objects], dim=2).repeat(1, 3, 1)  # a single class, of YOLOv5
    torch.testing.assert_close(box_table(one, 1)[:, :3, 4:], objects * objects)
    assert box_form(torch.zeros(1, 5, 6), 2) == BoxForm("chosen")  # nothing was found, so nothing is told


def test_a_network_that_finds_few_boxes_or_none_still_answers(scenes: torch.Tensor) -> None:
    """Where it leaves out what it does not find: a picture without objects has a table of no rows."""

    class Dynamic(nn.Module):
        rows = 8

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            box = torch.tensor([40.0, 24, 64, 48, 0.9, 1])
            return box.expand(len(images), self.rows, 6) + 0 * images.mean()

    network = Dynamic()
    said = Adaptation(labels="coco", size=DETECTOR_PX)
    victim = base.FoundNetwork(network).victim("dynamic", WeightsInfo("", ""), said)
    assert isinstance(victim, Detector)
    for network.rows, expected in ((8, 1), (3, 1), (1, 1), (0, 0)):
        assert [len(boxes) for boxes in victim.find(scenes)] == [expected] * 3


def test_boxes_that_are_shares_fit_the_size_that_is_given(tmp_path: Path) -> None:
    """A checkpoint of RT-DETR, whose own size a model.toml changes."""
    network = save_rtdetr(tmp_path / "rtdetr.pt", DETECTOR_PX)
    (tmp_path / "model.toml").write_text(f'model = "rtdetr.pt"\n[preprocessing]\nsize = {2 * DETECTOR_PX}\n')
    victim = load_victim(str(tmp_path / "model.toml"))
    assert isinstance(victim, Detector) and victim.preprocessing.size == 2 * DETECTOR_PX
    image = torch.rand(1, 3, 2 * DETECTOR_PX, 2 * DETECTOR_PX)
    boxes, _ = victim.predictions(image)
    with torch.no_grad():
        (shares,) = network(image)[0][..., 2:4].amax(dim=1)
    torch.testing.assert_close((boxes[0, :, 2:] - boxes[0, :, :2]).amax(dim=0), shares * 2 * DETECTOR_PX)


def test_what_is_no_form_of_boxes() -> None:
    assert count_classes(torch.zeros(1, 84, 8400)) == 80 and count_classes(torch.zeros(1, 300, 6)) is None
    assert count_classes(torch.zeros(1, 25200, 85)) is None  # 80 classes behind the probability of any object, or 81
    tokens = (torch.zeros(1, 10), torch.zeros(1, 50, 64))  # logits, and what led to them
    for output in (torch.zeros(2, 10), torch.zeros(2, 3, 8, 8), tokens, {"logits": torch.zeros(2, 10)}, [], "text"):
        assert not finds_boxes(output)


def test_a_network_for_one_image_is_not_asked_about_two() -> None:
    class First(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return AllBoxes()(images[:1])

    with pytest.raises(InputError, match="answers about 1 of 2 images"):
        BoxTable(First(), 2)(torch.rand(2, 3, DETECTOR_PX, DETECTOR_PX))
    table = FixedBatch(BoxTable(BoxesApart(), 2), 1)(torch.rand(2, 3, DETECTOR_PX, DETECTOR_PX))
    assert table.shape == (2, 8, 6)


# --- ultralytics' own exports -----------------------------------------------------------------------------------------

SIDE = 160


class Signs(nn.Module):
    """The embedded detector of signs, with its boxes alone."""

    def __init__(self) -> None:
        super().__init__()
        self.network = trained_network()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images)[0]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded detector of signs, exported by ultralytics: every box, and with suppression inside."""
    folder = tmp_path_factory.mktemp("exports")
    torch.save({"model": trained_network(), "train_args": {"imgsz": SIDE}}, folder / "own.pt")
    ultralytics = import_ultralytics()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for form, suppressed in (("onnx", False), ("onnx", True), ("torchscript", True)):
            network = ultralytics.YOLO(folder / "own.pt")
            settings = {"simplify": False} if form == "onnx" else {}  # which needs another package
            written = network.export(format=form, imgsz=SIDE, nms=suppressed, verbose=False, **settings)
            Path(written).rename(folder / f"{'nms' if suppressed else 'all'}.{form}")
        program = torch.export.export(Signs().eval(), (torch.rand(2, 3, SIDE, SIDE),), strict=False)
        torch.export.save(program, folder / "all.pt2")
    return folder


@pytest.mark.filterwarnings("ignore")
def test_exports_of_ultralytics_find_what_the_checkpoint_finds(exports: Path) -> None:
    """Class names, size and batch are in the files; what does not convert to torch says so."""
    own = load_detector(str(exports / "own.pt"))
    frame = np.full((120, SIDE, 3), 120, np.uint8)
    drawn = stop().draw(90)
    frame[15:105, 40:130] = np.where(drawn[..., 3:] > 127, drawn[..., :3], 120)
    images = own.letterboxed(frame).images
    square = torch.nn.functional.pad(images, (0, 0, 0, SIDE - images.shape[2]), value=114 / 255)
    (expected,) = own.find(square)
    assert own.categories[expected[0].index] == "stop" and expected[0].score > 0.5
    said: list[str] = []
    with grad_cam(own) as cam:
        heat = cam(square, [expected[0].index])
    (exports / "signs.txt").write_text("\n".join(own.categories))
    for name, gradients in (("all.onnx", True), ("all.pt2", True), ("nms.onnx", False), ("nms.torchscript", True)):
        labels = exports / "signs.txt" if name == "all.pt2" else None
        victim = load_victim(str(exports / name), labels=labels, say=said.append)
        assert victim.explains == name.startswith("all")
        if victim.explains:  # by the layer that the checkpoint's own structure gives
            with grad_cam(victim) as cam:
                assert heat_similarity(heat[0], cam(square, [expected[0].index])[0]) == pytest.approx(1, abs=1e-3)
        assert isinstance(victim, TableDetector) and victim.categories == own.categories
        assert victim.preprocessing == own.preprocessing and victim.differentiable == gradients
        both = victim.find(square.repeat(2, 1, 1, 1))
        for best, *others in both:
            assert best.index == expected[0].index and len(others) == len(expected) - 1
            assert best.score == pytest.approx(expected[0].score, abs=1e-3)
            assert best.xyxy == pytest.approx(expected[0].xyxy, abs=0.5)
    assert len(said) == 1 and "nms.onnx: predictions only, without gradients, because" in said[0]


@pytest.mark.filterwarnings("ignore")
def test_a_check_says_which_layer_shows_a_detectors_heat_or_what_is_missing(
    exports: Path, files: Path, command, tmp_path: Path
) -> None:
    for file, words in (
        (exports / "all.onnx", r"layer network\.network\.module\.Mul_/model\.12/.*; how faithful it is, is not tested"),
        (exports / "nms.onnx", "none: heat needs gradients, and this model gives predictions only"),
        (exports / "nms.torchscript", r"none: the layers of TorchScript cannot be seen; export it as \.pt2 or \.onnx"),
    ):
        command("models", "--check", file, "--json", tmp_path / "found.json")
        found = {f["what"]: f["words"] for f in json.loads((tmp_path / "found.json").read_text())["findings"]}
        assert re.match(words, found["heat"]), found["heat"]


def test_a_detector_without_a_layer_for_boxes_of_every_size_names_some(monkeypatch, tmp_path: Path, command) -> None:
    """Two heads that share nothing: one for small boxes, and one for large ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(HELPERS))
    Path("apart_heads.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Heads(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.small, self.large = nn.Conv2d(3, 7, 8, 8), nn.Conv2d(3, 7, 16, 16)\n"
        "    def forward(self, images):\n"
        "        rows = []\n"
        "        for head, size in ((self.small, 8.0), (self.large, 16.0)):\n"
        "            found = head(images).flatten(2)\n"
        "            boxes = torch.full_like(found[:, :4], size)\n"
        "            rows.append(torch.cat([boxes, found[:, 4:].sigmoid()], dim=1))\n"
        "        return torch.cat(rows, dim=2)\n"
        "def make():\n    torch.manual_seed(0)\n    return Heads()\n"
    )
    Path("heads.toml").write_text('model = "apart_heads:make"\ntask = "detect"\n[preprocessing]\nsize = 64\n')
    done = command("models", "--check", "heads.toml", "--trust-weights", "--json", "found.json")
    assert done.code == 0, done.err
    found = {f["what"]: f["words"] for f in json.loads(Path("found.json").read_text())["findings"]}
    assert "no layer serves boxes of every size; name one by --cam-layer, such as" in found["heat"]
    layer = found["heat"].rpartition(", ")[2]
    victim = load_victim("heads.toml", trust=True, cam_layer=layer, say=lambda _: None)
    assert victim.explains and not load_victim("heads.toml", trust=True, say=lambda _: None).explains


def test_the_layer_for_heat_is_searched_when_heat_is_wanted_and_once(exports: Path, monkeypatch) -> None:
    searches: list[int] = []
    search = base.find_shared_layer
    monkeypatch.setattr(base, "find_shared_layer", lambda *given: (searches.append(1), search(*given))[1])
    victim = load_detector(str(exports / "all.onnx"), threshold=0.3)
    victim.find(torch.rand(1, 3, SIDE, SIDE))
    assert not searches
    assert victim.explains and replace(victim, name="again").explains and searches == [1]
    earlier = next(iter(list_cam_layers(victim.module, SIDE)))
    chosen = load_detector(str(exports / "all.onnx"), threshold=0.3).with_cam_layer(earlier)
    assert chosen.explains and searches == [1]  # nobody searches beside a layer that was chosen


def test_layers_are_found_where_the_network_is(exports: Path) -> None:
    victim = load_detector(str(exports / "all.pt2"), threshold=0.3)
    here = list(list_cam_layers(victim.module, SIDE))
    assert list(list_cam_layers(victim.module.to("meta"), SIDE)) == here  # a device on which images of the CPU fail


def test_notes_of_an_export(tmp_path: Path) -> None:
    """They come as texts in ONNX, and as JSON in TorchScript; those of other programs are no obstacle."""
    texts = {"task": "detect", "names": "{0: 'a', 1: \"b's\"}", "imgsz": "[64, 64]", "batch": "1"}
    values = {"task": "detect", "names": {"0": "a", "1": "b's"}, "imgsz": [64, 64], "batch": 1}
    for noted in (texts, json.loads(json.dumps(values))):
        assert ExportNotes.of(noted, tmp_path) == ExportNotes(("a", "b's"), size=64, batch=1, plain=True)
    dynamic = ExportNotes.of(texts | {"args": "{'dynamic': True}"}, tmp_path)
    assert dynamic == ExportNotes(("a", "b's"), usual_size=64, plain=True)
    for noted in ({}, {"names": "{0: 'a'}"}, texts | {"names": "[" * 5000}, texts | {"names": "3"}):
        assert ExportNotes.of(noted, tmp_path) == ExportNotes()
    assert ExportNotes.of({"stride": "32", "names": "{0: 'a', 1: 'b'}"}, tmp_path) == ExportNotes(("a", "b"))  # YOLOv5
    with pytest.raises(InputError, match="is there to segment; expected a model that classifies"):
        ExportNotes.of(texts | {"task": "segment"}, tmp_path)
    with pytest.raises(InputError, match=r"takes images of \[64, 96\] pixels; expected square ones"):
        ExportNotes.of(texts | {"imgsz": "[64, 96]"}, tmp_path)


# --- conversion of ONNX -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ("Round", "its conversion to torch has no gradient"),
        ("Bernoulli", "its conversion to torch answers otherwise than ONNX Runtime|does not convert to torch"),
    ],
)
def test_onnx_without_a_faithful_conversion_says_so(last: str, words: str, tmp_path: Path) -> None:
    """A model whose last operator has no gradient, or is random, is asked for predictions only."""
    from onnx import TensorProto, checker, helper, save

    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node(last, ["mean"], ["scores"]),
    ]
    shapes = {"images": ["b", 3, 16, 16], "scores": ["b", 3]}
    given, answered = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items())
    model = helper.make_model(
        helper.make_graph(nodes, "g", [given], [answered]), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    checker.check_model(model)
    save(model, tmp_path / "model.onnx")
    said: list[str] = []
    victim = load_victim(str(tmp_path / "model.onnx"), say=said.append)
    assert not victim.differentiable and not victim.explains
    assert len(said) == 1
    assert re.search(f"predictions only, without gradients, because .*({words})", said[0])
