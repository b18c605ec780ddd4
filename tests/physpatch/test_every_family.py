"""Each family all the way through the command line: check, train, evaluate, a session on the virtual rig, its report."""

import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from model_files import (
    DETECTOR_PX,
    PLAIN,
    AllBoxes,
    ChosenBoxes,
    ColourNet,
    ObjectBoxes,
    Rounded,
    save_clip,
    save_program,
    save_rtdetr,
    save_timm,
    served,
)
from PIL import Image
from support import CATEGORIES, DETECTED, HELPERS, save_squares, vivid_patch

from captures.results.recorded_session import RecordedSession
from captures.results.session_record import SESSION_FILE, SessionRecord
from captures.storage import read_rows
from captures.workflows.session_again import reanalysis_request
from physpatch.records.run_record import RunRecord
from physpatch.victims.families.ultralytics_detectors import import_ultralytics

BLIND = ("--technique", "black-box")
TINY = ("--steps", "2", "--batch", "2", "--grid", "3x3", "--no-eot", "--recognised", "0")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with every kind of file, photographs with labels and without, and the address of a product."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "squares").mkdir()
    save_squares(folder / "squares")
    (folder / "plain").mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        shades = rng.integers(90, 160, (6, 8, 1), dtype=np.uint8).repeat(3, axis=2)
        Image.fromarray(shades).resize((160, 120)).save(folder / f"plain/{i}.png")
    (folder / "labels.txt").write_text("\n".join(CATEGORIES))
    (folder / "detected.txt").write_text("\n".join(DETECTED))
    save_timm(folder, "test_resnet", len(CATEGORIES))
    save_clip(folder)
    for suffix in ("pt2", "onnx", "torchscript"):
        save_program(ColourNet(), folder / f"colours.{suffix}", 32)
    save_program(Rounded(), folder / "rounded.onnx", 32, 3, dynamic=False)
    save_program(AllBoxes(), folder / "all.pt2", DETECTOR_PX)
    save_program(AllBoxes(), folder / "all.onnx", DETECTOR_PX, 1, dynamic=False)
    save_program(ObjectBoxes(), folder / "objects.onnx", DETECTOR_PX)
    save_rtdetr(folder / "rtdetr.pt", DETECTOR_PX)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_ultralytics().RTDETR(folder / "rtdetr.pt").export(format="torchscript", imgsz=DETECTOR_PX, verbose=False)
    save_program(ChosenBoxes(), folder / "chosen.torchscript", DETECTOR_PX)
    (folder / "own_models.py").write_text("from model_files import ColourNet\ndef colours():\n    return ColourNet()\n")
    sized = f'labels = "detected.txt"\n[preprocessing]\nsize = {DETECTOR_PX}\n'
    with served() as address:
        described = {
            "pt2": f'model = "colours.pt2"\nlabels = "labels.txt"\n{PLAIN}',
            "onnx": f'model = "colours.onnx"\nlabels = "labels.txt"\n{PLAIN}',
            "torchscript": f'model = "colours.torchscript"\nlabels = "labels.txt"\n{PLAIN}',
            "callable": f'model = "own_models:colours"\nlabels = "labels.txt"\n{PLAIN}',
            "ensemble": 'members = ["pt2.toml", "onnx.toml"]\nthreshold = 0.3\n',
            "rounded": f'model = "rounded.onnx"\nlabels = "labels.txt"\n{PLAIN}',
            "best": f'labels = "labels.txt"\n[preprocessing]\nsize = 32\n[endpoint]\nurl = "{address}/best"\n'
            'encoding = "multipart"\nbatch = 3\nrequests_per_s = 200\n',
            "endpoint": f'[preprocessing]\nsize = 32\n[endpoint]\nurl = "{address}/logits"\n',
            "boxes-pt2": 'model = "all.pt2"\nlabels = "detected.txt"\ntask = "detect"\nthreshold = 0.4\n',
            "boxes-onnx": 'model = "all.onnx"\nlabels = "detected.txt"\n',
            "boxes-objects": f'model = "objects.onnx"\n{sized}',
            "boxes-torchscript": f'model = "chosen.torchscript"\n{sized}',
            "boxes-endpoint": f'[preprocessing]\nsize = {DETECTOR_PX}\n[endpoint]\nurl = "{address}/boxes"\n',
        }
        for name, text in described.items():
            (folder / f"{name}.toml").write_text(text)
        yield folder


@dataclass(frozen=True)
class Case:
    """A model as it is given, and what is true of it."""

    model: str
    options: tuple[str, ...] = ()
    gradients: bool = True
    random: bool = False  # its weights are, so its accuracy is chance
    elsewhere: bool = False  # pictures are sent to it


CLASSIFIERS = {
    "timm": Case("timm:test_resnet", ("--weights", "timm.safetensors", "--labels", "labels.txt"), random=True),
    "clip": Case("clip:physpatch-tiny", ("--weights", "clip.safetensors", "--labels", "labels.txt"), random=True),
    "torch.export": Case("pt2.toml"),
    "TorchScript": Case("torchscript.toml"),
    "ONNX": Case("onnx.toml"),
    "callable": Case("callable.toml", ("--trust-weights",)),
    "model.toml": Case("ensemble.toml"),
    "ONNX Runtime": Case("rounded.toml", gradients=False),
    "HTTP": Case("endpoint.toml", gradients=False, elsewhere=True),
    "HTTP, multipart": Case("best.toml", gradients=False, elsewhere=True),
}
DETECTORS = {
    "torch.export": Case("boxes-pt2.toml"),
    "TorchScript": Case("boxes-torchscript.toml"),
    "ONNX": Case("boxes-onnx.toml"),
    "HTTP": Case("boxes-endpoint.toml", gradients=False, elsewhere=True),
    "YOLOv5's form": Case("boxes-objects.toml"),
    "RT-DETR": Case("rtdetr.pt", random=True),
    "RT-DETR exported": Case("rtdetr.torchscript", random=True),
}


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder is the one with the models; results go elsewhere."""
    monkeypatch.chdir(made)
    monkeypatch.setattr(sys, "path", [*sys.path, str(HELPERS)])
    return made


def walked(case: Case, command, out: Path, data: str, attack: tuple[str, ...], watching: tuple[str, ...]) -> str:
    """Take a model all the way; return the name that its records have."""
    run, session, found = out / "run", out / "session", out / "found.json"
    trust = tuple(option for option in case.options if option == "--trust-weights")
    photographs = "plain" if case.random else data
    done = command("models", "--check", case.model, *case.options, "--data", photographs, "--json", found)
    assert done.code == 0, done.err
    findings = {finding["what"]: finding for finding in json.loads(found.read_text())["findings"]}
    assert findings["gradient"]["outcome"] == ("works" if case.gradients else "note")
    assert ("queries" in findings) == case.elsewhere
    training = ("train", "--model", case.model, *case.options, "--data", data, *attack, *TINY, "--out", run)
    if not case.gradients:
        command(*training).assert_refused(
            "gives predictions only, and technique pgd needs gradients; use --technique black"
        )
        assert not run.exists()
    done = command(*training, *(() if case.gradients else BLIND))
    assert done.code == 0, done.err
    record = RunRecord.of(run)
    assert record.weights is not None
    files = [record.config["victim"][name] for name in ("model", "weights", "labels")]
    assert all(Path(file).is_absolute() for file in files if file is not None and Path(file).is_file())
    done = command("evaluate", run, *trust, "--json", "-")
    assert done.code == 0, done.err
    assert json.loads(done.out)[record.weights.model]["n"] > 0
    rig = ("--source", "virtual", "--headless", "--max-frames", "3")
    done = command("live", run, *rig, *trust, *watching, "--out", session)
    assert done.code == 0, done.err
    assert {row.model for row in read_rows(session)} >= {record.weights.model}
    assert (f"sent to {record.weights.model}: " in done.err) == case.elsewhere
    done = command("report", session, *trust)
    assert done.code == 0, done.err
    assert record.weights.model in (session / "report.html").read_text()
    return record.weights.model


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_a_classifier_of_each_family(family: str, here: Path, command, tmp_path: Path, few_views: int) -> None:
    attack = ("--target", "blue thing", "--area", "0.3")
    walked(CLASSIFIERS[family], command, tmp_path, "squares", attack, ())


@pytest.mark.parametrize("family", DETECTORS)
def test_a_detector_of_each_family(family: str, here: Path, command, tmp_path: Path, few_views: int) -> None:
    case = DETECTORS[family]
    attack = ("--object", "stop", "--target", "none", "--sign-area", "0.2")
    name = walked(case, command, tmp_path, "plain", attack, ("--detector", case.model, "--classifier", "pt2.toml"))
    rows = [row for row in read_rows(tmp_path / "session") if row.model == name]
    assert all(row.label == "stop" for row in rows) and any(json.loads(row.boxes or "[]") for row in rows)


@pytest.mark.parametrize("family", ["timm", "clip"])
def test_the_options_of_a_sessions_classifier_are_kept_for_report_and_replay(
    family: str, here: Path, command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are found from other folders, and published weights are never asked for in their place."""
    case, session, run = CLASSIFIERS[family], tmp_path / "session", tmp_path / "run"
    vivid_patch().save(tmp_path)
    made = (
        "import",
        tmp_path / "patch.png",
        "--grid",
        "10x10",
        "--data",
        "squares",
        "--model",
        "pt2.toml",
        "--target",
        "2",
    )
    assert command(*made, "--out", run).code == 0
    rig = ("--source", "virtual", "--headless", "--max-frames", "3")
    done = command("live", run, *rig, "--classifier", case.model, *case.options, "--out", session)
    assert done.code == 0, done.err
    (model,) = SessionRecord.load(session / SESSION_FILE).models
    assert model.loaded_with == {"weights": str(here / case.options[1]), "labels": str(here / "labels.txt")}
    monkeypatch.chdir(tmp_path)
    done = command("report", session)
    assert done.code == 0 and "--weights" not in done.err, done.err
    done = command("replay", session, "--out", tmp_path / "again")
    assert done.code == 0, done.err
    again = reanalysis_request(RecordedSession.open(session), {"classifier": "efficientnet_lite0"})
    assert (again.classifier, again.weights, again.labels) == ("efficientnet_lite0", None, None)
