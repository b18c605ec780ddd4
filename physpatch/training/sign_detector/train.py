"""Train the embedded detector again.

    python -m physpatch.training.sign_detector.train --data PHOTOGRAPHS [--data …] --out WEIGHTS

Scenes are rendered as needed, and each is used about twice. The photographs are split by their content into three disjoint
parts (``physpatch.data.splits.detector_parts``): for training, for validation, and for a single test at the end. The test's
mAP is stored in the weights file, with the content ids of all photographs for training and validation. An interrupted
training resumes from --work. It takes two hours on one core from random weights; --start goes on from trained ones.

Another network of ultralytics learns the same by --network NAME --out FILE.pt, which is a checkpoint as ultralytics writes
them: ``--model FILE.pt`` loads it.
"""

import argparse
import json
import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from calibration.common.files import atomic_path, file_sha256
from calibration.common.pictures import read_picture
from physpatch.data.photographs import list_photos
from physpatch.data.splits import content_id, detector_parts
from physpatch.training.sign_detector.scenes import NAMES, SceneMaker, Truth
from physpatch.victims.boxes import Detection
from physpatch.victims.families.signs.network import (
    ARCHITECTURE,
    RECIPE,
    WEIGHTS,
    learned_from,
    new_network,
    trained_network,
)
from physpatch.victims.networks.memory import keep_freed_memory

# Batch size by the scenes' side, for similar numbers of pixels.
_SIZES = {192: 28, 256: 16, 320: 10, 384: 7, 512: 4, 640: 3}
_POOL = 48  # batches kept for reuse
_FRESH = 0.5  # share of the steps with new scenes
_SHORT_SIDE = 400  # pixels to which photographs are scaled down
_RATE, _LAST_RATE, _WARM_STEPS = 1.5e-3, 1.5e-5, 300
_TUNING = 0.4  # of the rate, for weights that were trained before
_WARM_SHARE = 0.1  # of the steps, at most
_SAVED_EVERY, _WATCHED_EVERY = 50, 500  # steps
_DECAY = 0.998  # of the averaged weights
_TEST_SCENES, _TEST_SIZE, _TEST_SEED = 256, 320, 999_983


def main() -> None:
    """Train, test and save a detector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, help="folder of photographs without road signs")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--work", type=Path, required=True, help="folder for the state of the training")
    parser.add_argument(
        "--network",
        default=Path(ARCHITECTURE).stem,
        help="as ultralytics calls it, such as yolo11n; another one needs --out FILE.pt",
    )
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=float, default=1.0, help="share of the usual batch sizes")
    parser.add_argument(
        "--start", type=Path, help="weights of this detector to go on from, trained on the same photographs"
    )
    options = parser.parse_args()
    architecture = f"{options.network}.yaml"
    if architecture != ARCHITECTURE and (options.out.suffix != ".pt" or options.start is not None):
        parser.error(f"--network {options.network} needs --out FILE.pt and cannot --start from weights")
    keep_freed_memory()
    torch.manual_seed(options.seed)
    try:
        network = new_network(architecture) if options.start is None else trained_network(options.start)
    except FileNotFoundError:
        parser.error(f"ultralytics has no network {options.network}; expected a name such as yolo11n or yolov8s")
    parts = detector_parts(photo.path for data in options.data for photo in list_photos(data, None))
    train, watched = ([load(path) for path in paths] for paths in (parts.train, parts.watched))
    before = frozenset() if options.start is None else learned_from(options.start)
    highest = _RATE if options.start is None else _TUNING * _RATE
    averaged = fit(network, train, watched, options.steps, options.seed, options.work, highest, options.batch)
    score = mean_precision(averaged, [load(path) for path in parts.test])
    recipe = {
        "architecture": options.network,
        "classes": list(NAMES),
        "seed": options.seed,
        "steps": options.steps,
        "started_from": None if options.start is None else file_sha256(options.start),
        "photographs": len(train),
        "watched_photographs": len(watched),
        "test_photographs": len(parts.test),
        "test_scenes": _TEST_SCENES,
        **score,
        "learned_from": sorted(before | {content_id(path) for path in parts.train + parts.watched}),
    }
    save(averaged, recipe, options.out)
    print(json.dumps(recipe))  # noqa: T201


def save(network: Any, recipe: dict[str, Any], file: Path) -> None:
    """Save a network in float16: as a checkpoint of ultralytics if the file ends in .pt, otherwise as safetensors."""
    network = network.half()
    with atomic_path(file) as path:
        if file.suffix == ".pt":
            torch.save({"model": network, "train_args": {"imgsz": _TEST_SIZE}, RECIPE: recipe}, path)
        else:
            state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
            save_file(state, path, metadata={RECIPE: json.dumps(recipe)})


def fit(
    network: Any,
    train: list[NDArray[np.uint8]],
    watched: list[NDArray[np.uint8]],
    steps: int,
    seed: int,
    work: Path,
    highest: float = _RATE,
    batch_share: float = 1.0,
) -> Any:
    """Train a network and return it with its averaged weights, which are more stable than the last ones.

    ``train`` and ``watched`` (H, W, 3) RGB are for training and validation; ``work`` is the folder of the resumable state;
    ``highest`` is the learning rate that the first steps rise to; ``batch_share`` scales the batches.
    """
    network = network.to(memory_format=torch.channels_last)
    from ultralytics.utils.torch_utils import ModelEMA  # new_network has imported ultralytics quietly

    average = ModelEMA(network, decay=_DECAY, tau=500)
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=5e-4)
    work.mkdir(parents=True, exist_ok=True)
    saved, first = work / "state.pt", 0
    if saved.is_file():
        state = torch.load(saved, weights_only=True)
        network.load_state_dict(state["network"])
        average.ema.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first = average.updates = state["step"]
    maker, rng = SceneMaker(train, seed + 7919 * first), np.random.default_rng([seed, first])
    pool: list[tuple[Tensor, list[Truth]]] = []
    network.train()
    began = time.perf_counter()
    for step in range(first, steps):
        if len(pool) < 4 or rng.random() < _FRESH:
            size = int(rng.choice(list(_SIZES)))
            images, truths = maker.batch(max(2, round(batch_share * _SIZES[size])), size, most=5)
            pool.append(((images * 255).round().byte(), truths))
            pool = pool[-_POOL:]
            batch = pool[-1]
        else:
            batch = pool[int(rng.integers(len(pool)))]
        rate = _LAST_RATE + 0.5 * (highest - _LAST_RATE) * (1 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / min(_WARM_STEPS, max(1.0, _WARM_SHARE * steps)))
        loss, parts = training_loss(network, *batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        average.update(network)
        if (step + 1) % _SAVED_EVERY == 0 or step + 1 == steps:
            pace = (time.perf_counter() - began) / (step + 1 - first)
            print(f"step {step + 1}, {parts}, {pace:.2f} s per step", flush=True)  # noqa: T201
            state = {"network": network.state_dict(), "average": average.ema.state_dict(), "step": step + 1}
            with atomic_path(saved) as file:
                torch.save(state | {"optimiser": optimiser.state_dict()}, file)
        if (step + 1) % _WATCHED_EVERY == 0:
            print(step + 1, json.dumps(mean_precision(average.ema, watched)), flush=True)  # noqa: T201
            network.train()
    return average.ema


def training_loss(network: Any, images: Tensor, truths: list[Truth]) -> tuple[Tensor, str]:
    """Compute YOLO's loss for images (B, 3, S, S) uint8; also describe its terms."""
    size = images.shape[-1]
    inputs = (images.float() / 255).contiguous(memory_format=torch.channels_last)
    boxes = torch.cat([truth.boxes for truth in truths]) / size
    targets = {
        "batch_idx": torch.cat([torch.full((len(t.classes),), float(i)) for i, t in enumerate(truths)]),
        "cls": torch.cat([truth.classes for truth in truths]).float()[:, None],
        "bboxes": torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], dim=1),
        "img": inputs,
    }
    # bfloat16 is twice as fast on CPUs with instructions for it
    with torch.autocast("cpu", torch.bfloat16) if _multiplies_bfloat16() else nullcontext():
        answers = network(inputs)
    answers = {k: [f.float() for f in v] if isinstance(v, list) else v.float() for k, v in answers.items()}
    loss, items = network.loss(targets, answers)
    parts = items if isinstance(items, dict) else {f"loss {i}": value for i, value in enumerate(items)}
    return loss.sum() / len(images), ", ".join(f"{name} {float(value):.3f}" for name, value in parts.items())


@torch.no_grad()
def mean_precision(
    network: Any, photographs: list[NDArray[np.uint8]], scenes: int = _TEST_SCENES, *, varied: bool = True
) -> dict[str, float]:
    """Compute COCO's mAP over scenes rendered into photographs (H, W, 3), RGB, that were not trained on.

    ``varied`` as for :class:`SceneMaker`.
    """
    from torchmetrics.detection import MeanAveragePrecision

    network.eval()
    maker, metric = SceneMaker(photographs, _TEST_SEED, varied=varied), MeanAveragePrecision()
    for _ in range(scenes // 16):
        images, truths = maker.batch(16, _TEST_SIZE)
        for detections, truth in zip(boxes_of(network, images), truths, strict=True):
            metric.update(
                [
                    {
                        "boxes": torch.tensor([box.xyxy for box in detections]).reshape(-1, 4),
                        "scores": torch.tensor([box.score for box in detections]),
                        "labels": torch.tensor([box.index for box in detections], dtype=torch.long),
                    }
                ],
                [{"boxes": truth.boxes, "labels": truth.classes.long()}],
            )
    result = metric.compute()
    return {"map50": round(float(result["map_50"]), 4), "map": round(float(result["map"]), 4)}


def boxes_of(network: Any, images: Tensor, least: float = 0.01) -> list[list[Detection]]:
    """Detect signs in images (B, 3, S, S), where S is a multiple of 32, with a confidence of ``least`` or more."""
    from ultralytics.utils.nms import non_max_suppression

    output = network(images.contiguous(memory_format=torch.channels_last))
    rows_by_image = non_max_suppression(output[0], conf_thres=least, iou_thres=0.6)
    return [[Detection(int(row[5]), float(row[4]), tuple(row[:4].tolist())) for row in rows] for rows in rows_by_image]


def load(path: Path) -> NDArray[np.uint8]:
    """Load a photograph (H, W, 3), RGB, scaled down to a shorter side of at most 400 pixels."""
    picture = read_picture(path)
    share = _SHORT_SIDE / min(picture.shape[:2])
    return cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA) if share < 1 else picture


def _multiplies_bfloat16() -> bool:
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


if __name__ == "__main__":
    main()
