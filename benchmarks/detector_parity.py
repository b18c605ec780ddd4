"""Our boxes and ultralytics' own, on the same photographs: python benchmarks/detector_parity.py --data coco128 [--file FILE.pt]

Without a file of weights it builds one network of each generation, with random weights that are scaled so that scores differ
from box to box. They find no things, but both programs must find the same.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from one_line import run_main
from torch import Tensor, nn
from torchvision.ops import box_iou

from calibration.common.pictures import read_picture
from physpatch.data.photographs import list_photos
from physpatch.victims.families.ultralytics_detectors import import_ultralytics
from physpatch.victims.registry import load_detector

ARCHITECTURES = ("yolov5n", "yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n")
_SAME = 0.99  # IoU
_ALIKE = 2e-3  # scores: the norms are folded in other orders
_SPREAD, _MIDDLE = 0.9, -3.8  # of the classes' logits: few boxes are sure, and none so sure that many are alike


def lively_checkpoint(architecture: str, pictures: Sequence[NDArray[np.uint8]], size: int, file: Path) -> None:
    """Save a network with random weights whose class logits have a fixed spread on (H, W, 3) RGB pictures."""
    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    network = DetectionModel(f"{architecture}.yaml", verbose=False)
    small = [cv2.resize(picture, (size, size)) for picture in pictures]
    batch = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 255
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the statistics of these very pictures
            module.reset_running_stats()
    head = network.model[-1]
    last = [branch[-1] for name in ("cv3", "one2one_cv3") for branch in getattr(head, name, None) or ()]
    inputs: dict[nn.Module, Tensor] = {}
    with torch.no_grad():
        network.train()(batch)
        hooks = [layer.register_forward_hook(lambda layer, args, _: inputs.update({layer: args[0]})) for layer in last]
        network.eval()(batch)
        for layer, hook in zip(last, hooks, strict=True):
            hook.remove()
            mean = inputs[layer].mean(dim=(0, 2, 3))
            spread = (inputs[layer] - mean[:, None, None]).std()
            weight = torch.randn_like(layer.weight) * _SPREAD / spread / len(mean) ** 0.5
            layer.weight.copy_(weight)
            layer.bias.copy_(_MIDDLE - weight[:, :, 0, 0] @ mean)
    torch.save({"model": network, "train_args": {"imgsz": size}}, file)


def compare(file: Path, pictures: Sequence[NDArray[np.uint8]]) -> tuple[int, int, int]:
    """Count the boxes that ultralytics finds in (H, W, 3) RGB pictures, those that we find, and those of ours that have one of
    theirs of their class and score with an IoU of 0.99 or more.
    """
    own, victim = import_ultralytics().YOLO(file), load_detector(str(file))
    size = victim.preprocessing.size
    theirs = ours = same = 0
    for picture in pictures:
        expected = own.predict(picture[..., ::-1], imgsz=size, conf=0.25, verbose=False, device="cpu")[0].boxes
        detections = victim.detect(picture)
        theirs, ours = theirs + len(expected), ours + len(detections)
        if not detections or not len(expected):
            continue
        scores, classes = (torch.tensor([getattr(box, name) for box in detections]) for name in ("score", "index"))
        alike = (classes[:, None] == expected.cls) & ((scores[:, None] - expected.conf).abs() < _ALIKE)
        boxes = torch.tensor([box.xyxy for box in detections])
        overlap = (box_iou(boxes, expected.xyxy) * alike).amax(dim=1)
        beyond = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1) < 1  # the picture's edge, where nothing is left to compare
        same += int(((overlap >= _SAME) | beyond).sum())
    return theirs, ours, same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of photographs")
    parser.add_argument("--limit", type=int, default=64, help="photographs at most")
    parser.add_argument("--size", type=int, default=640, help="the input of networks without --file, in pixels")
    parser.add_argument("--file", type=Path, action="append", help="a checkpoint; may be repeated")
    options = parser.parse_args()
    pictures = [read_picture(photo.path) for photo in list_photos(options.data, None)[: options.limit]]
    click.echo(f"{'network':15} {'boxes':>6} {'ours':>6}  {'same':>6}   on {len(pictures)} photographs")
    with tempfile.TemporaryDirectory() as folder:
        files = options.file or [Path(folder) / f"{name}_random.pt" for name in ARCHITECTURES]
        for file in files:
            if not options.file:
                lively_checkpoint(file.stem.removesuffix("_random"), pictures[:8], options.size, file)
            theirs, ours, same = compare(file, pictures)
            click.echo(f"{file.stem:15} {theirs:6} {ours:6}  {same:6}")


if __name__ == "__main__":
    run_main(main)
