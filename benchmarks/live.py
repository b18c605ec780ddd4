"""A live session beside the bare models on the same frames: throughput and delay. Prints one JSON line.

python benchmarks/live.py [--model efficientnet_lite0 | --user-pair] [--frames 120] [--rounds 3]

``--user-pair`` takes ResNet50 and YOLOv8n, the pair that live sessions are made for, with random weights: their time does not
depend on them. Throughput is of a whole session (finding the sheet, Grad-CAM, drawing, video, database) over a recorded film;
delay is from capture to the drawn picture, of a camera of 30 frames a second. Rounds alternate, for both to meet the same
machine.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import foolbox
import numpy as np
import torch
from numpy.typing import NDArray
from one_line import run_main

from captures import SessionConfig, run_session
from captures.inference.analyser import Analysis, to_input
from captures.sources.frame import Frame
from captures.sources.latest_frame import LiveFrames
from captures.sources.opencv import rgb
from captures.sources.opening import FileSource
from captures.sources.virtual_rig import VirtualRig
from captures.viewers.controls import Command, SessionStatus
from physpatch import Patch, load_victim
from physpatch.evaluation.grad_cam import grad_cam
from physpatch.victims.detector import Detector
from physpatch.victims.families.ultralytics_detectors import YoloVictim
from physpatch.victims.freezing import freeze
from physpatch.victims.protocol import Preprocessing, Victim, WeightsInfo
from printouts import print_sheets

CAMERA_FPS = 30.0
_SETTLING = 5  # frames whose delay does not count: the running means settle


class Film(FileSource):
    """Frames from memory."""

    fps = CAMERA_FPS

    def __init__(self, pictures: list[NDArray[np.uint8]]) -> None:
        self._pictures = pictures

    def __iter__(self) -> Iterator[Frame]:
        for i, picture in enumerate(self._pictures):
            self.captured = i + 1
            yield Frame(picture, i / self.fps, i + 1)


class Camera(LiveFrames):
    """The same frames at a camera's pace, over and over, until closed."""

    def __init__(self, pictures: list[NDArray[np.uint8]]) -> None:
        super().__init__("bench", CAMERA_FPS)
        self._pictures = [rgb(picture) for picture in pictures]
        threading.Thread(target=self._film, daemon=True).start()

    def _film(self) -> None:
        begun, number = time.monotonic(), 0
        while not self._ended:
            self.put(self._pictures[number % len(self._pictures)])
            number += 1
            time.sleep(max(0.0, begun + number / CAMERA_FPS - time.monotonic()))


class Clock:
    """A viewer that notes when pictures were there, and how old they were."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.ages: list[float] = []

    def show(self, analysis: Analysis, _picture: NDArray[np.uint8], _status: SessionStatus) -> None:
        self.at.append(time.monotonic())
        if analysis.frame.captured is not None:
            self.ages.append(time.monotonic() - analysis.frame.captured)

    def poll(self, _status: SessionStatus) -> list[Command]:
        return []


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--user-pair", action="store_true")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.frames <= _SETTLING:
        parser.error(f"--frames {options.frames}; expected more than {_SETTLING}, which the delay takes to settle")
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}; expected 1 or more")
    classifier, detector = user_pair() if options.user_pair else (load_victim(options.model), None)
    with tempfile.TemporaryDirectory() as work:
        rig = make_rig(Path(work))
        pictures = [frame.image for frame in rig]
        pictures = (pictures * (options.frames // len(pictures) + 1))[: options.frames]
        config = SessionConfig(classifier, detector, layouts=rig.layouts, intrinsics=rig.intrinsics)
        rounds = []
        for number in range(options.rounds):
            bare = bare_seconds(classifier, detector, pictures)
            whole = Clock()
            run_session(Film(pictures), config, Path(work) / f"film{number}", viewers=[whole])
            fps = (len(whole.at) - 1) / (whole.at[-1] - whole.at[0])
            live = Clock()
            limited = SessionConfig(
                classifier, detector, layouts=rig.layouts, intrinsics=rig.intrinsics, max_frames=options.frames
            )
            with Camera(pictures) as camera:
                run_session(camera, limited, Path(work) / f"live{number}", viewers=[live])
            ages = live.ages[_SETTLING:]
            rounds.append(
                (1 / bare, fps, statistics.median(ages), float(np.percentile(ages, 95)), bare + 1 / CAMERA_FPS)
            )
    medians = [statistics.median(values) for values in zip(*rounds, strict=True)]
    record = {
        "models": [m.name for m in (classifier, detector) if m is not None],
        "frames": options.frames,
        "rounds": options.rounds,
        "models_alone_fps": round(medians[0], 2),
        "session_fps": round(medians[1], 2),
        "throughput_ratio": round(statistics.median(fps / alone for alone, fps, *_ in rounds), 3),
        "delay_ms": {"median": round(1000 * medians[2], 1), "p95": round(1000 * medians[3], 1)},
        "model_time_plus_one_frame_ms": round(1000 * medians[4], 1),
        "delay_ratio": round(statistics.median(delay / limit for *_, delay, _, limit in rounds), 3),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(record))  # noqa: T201


def bare_seconds(classifier: Victim, detector: Detector | None, pictures: list[NDArray[np.uint8]]) -> float:
    """Measure a frame's time with the models alone: the classifier with its heat, the detector with its boxes."""
    with grad_cam(classifier) as cam:
        for number, picture in enumerate(pictures):
            if number == 1:
                begun = time.monotonic()
            cam.top(to_input(picture, classifier.preprocessing).to(classifier.device))
            if detector is not None:
                detector.detect(picture)
    return (time.monotonic() - begun) / (len(pictures) - 1)


def make_rig(work: Path) -> VirtualRig:
    """Print a patch of random cells; return a rig that films it before photographs."""
    cells = np.random.default_rng(0).integers(0, 256, (10, 10, 3), dtype=np.uint8)
    print_sheets(Patch(cells, None, {}), 100, work / "sheet.pdf", controls=("grey",))
    photographs = sorted((Path(foolbox.__file__).parent / "data").glob("imagenet_*.jpg"))
    return VirtualRig(work / "sheet.pdf", [(path, None) for path in photographs], clips=1, frames_per_clip=30)


def user_pair() -> tuple[Victim, Detector]:
    """Build ResNet50 and YOLOv8n as sessions load them, but for their weights."""
    from torchvision.models import resnet50

    from physpatch.victims.families.ultralytics_detectors import import_ultralytics

    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    network, none = resnet50(), WeightsInfo("random", "")
    imagenet = Preprocessing(224, 256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    names = tuple(f"class {i}" for i in range(1000))
    classifier = Victim("resnet50", "classify", names, imagenet, freeze(network, 224), network.layer4, none)
    boxes = DetectionModel("yolov8n.yaml", verbose=False)
    plain = Preprocessing(640, 640, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    categories = tuple(boxes.names.values())
    return classifier, YoloVictim("yolov8n", "detect", categories, plain, freeze(boxes, 64), boxes.model[-2], none)


if __name__ == "__main__":
    run_main(main)
