"""Models of every family as real files and a server: a classifier of colours, and a detector of coloured squares."""

import base64
import io
import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from support import CATEGORIES, DETECTED, ColourNet, colour_boxes
from torch import nn

from physpatch.victims.families.ultralytics_detectors import import_ultralytics

PLAIN = "[preprocessing]\nsize = 32\nmean = [0, 0, 0]\nstd = [1, 1, 1]\n"
DETECTOR_PX = 96
_TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
_TINY_RTDETR = {
    "scales": {"l": [1.0, 1.0, 1024]},
    "backbone": [[-1, 1, "Conv", [width, 3, 2]] for width in (16, 16, 32, 32, 32)],
    "head": [
        [-1, 1, "AIFI", [64, 4]],
        [-1, 1, "Conv", [32, 1, 1]],
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [3, 1, "Conv", [32, 1, 1]],
        [[-2, -1], 1, "Concat", [1]],
        [-1, 1, "RepC3", [32]],
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [2, 1, "Conv", [32, 1, 1]],
        [[-2, -1], 1, "Concat", [1]],
        [-1, 1, "RepC3", [32]],
        [[14, 10, 6], 1, "RTDETRDecoder", ["nc", 32, 60]],
    ],
}


class Rounded(ColourNet):
    """The colour network with an answer that has no gradient."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).round()


class AllBoxes(nn.Module):
    """Every window of the colour detector, as ultralytics exports a network: (B, 4 + 2, A)."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        boxes, probabilities = colour_boxes(images)
        corners, opposite = boxes[..., :2], boxes[..., 2:]
        return torch.cat([(corners + opposite) / 2, opposite - corners, probabilities], dim=2).transpose(1, 2)


class ObjectBoxes(nn.Module):
    """The same as YOLOv5 answers: (B, A, 5 + 2), with the probability of any object before those of the classes."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = AllBoxes().forward(images).transpose(1, 2)
        best = rows[..., 4:].amax(dim=2, keepdim=True)
        return torch.cat([rows[..., :4], best, rows[..., 4:] / best.clamp(min=1e-9)], dim=2)


class ChosenBoxes(nn.Module):
    """The eight best windows, as ultralytics exports a network with suppression: (B, 8, 6)."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        boxes, probabilities = colour_boxes(images)
        scores, classes = probabilities.max(dim=2)
        best = scores.topk(8, dim=1).indices[..., None]
        table = torch.cat([boxes, scores[..., None], classes[..., None].to(boxes)], dim=2)
        return table.gather(1, best.expand(-1, -1, 6))


class BoxesApart(ChosenBoxes):
    """The same as torchvision's detectors answer: boxes, labels and scores by name, for each image."""

    def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        table = super().forward(images)
        return [{"boxes": t[:, :4], "labels": t[:, 5].long(), "scores": t[:, 4]} for t in table]


class OneApart(BoxesApart):
    """The same for one image, as it is exported: boxes, labels and scores one after the other."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(super().forward(images)[0].values())


def save_program(network: nn.Module, file: Path, side: int, batch: int = 2, *, dynamic: bool = True) -> None:
    """Write a network as its file's suffix says: ``.pt2``, ``.onnx``, or TorchScript."""
    images = torch.rand(batch, 3, side, side)
    network = network.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if file.suffix == ".pt2":
            shapes = ({0: torch.export.Dim("batch", min=1, max=64)},) if dynamic else None
            torch.export.save(torch.export.export(network, (images,), dynamic_shapes=shapes), file)
        elif file.suffix == ".onnx":
            torch.onnx.export(
                network,
                (images,),
                file,
                input_names=["images"],
                dynamic_axes={"images": {0: "batch"}} if dynamic else None,
                dynamo=False,  # the other exporter takes seconds for any network
            )
        else:
            torch.jit.trace(network, images).save(file)


def save_timm(folder: Path, architecture: str, classes: int) -> nn.Module:
    """Write random weights of one of timm's networks as ``timm.safetensors``; return the network."""
    import timm

    torch.manual_seed(0)
    network = timm.create_model(architecture, num_classes=classes)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / "timm.safetensors")
    return network.eval()


def save_rtdetr(file: Path, side: int) -> nn.Module:
    """Write a checkpoint of ultralytics with random weights of a tiny RT-DETR; return the network."""
    import_ultralytics()
    from ultralytics.nn.tasks import RTDETRDetectionModel

    torch.manual_seed(0)
    network = RTDETRDetectionModel(deepcopy(_TINY_RTDETR) | {"nc": len(DETECTED)}, verbose=False).eval()
    network.names = dict(enumerate(DETECTED))
    torch.save({"model": network, "train_args": {"imgsz": side}}, file)
    return network


def save_clip(folder: Path) -> nn.Module:
    """Write random weights of a tiny CLIP, ``clip:physpatch-tiny``, as ``clip.safetensors``; return the network."""
    import open_clip

    (folder / "physpatch-tiny.json").write_text(json.dumps(_TINY_CLIP))
    open_clip.add_model_config(folder / "physpatch-tiny.json")
    torch.manual_seed(0)
    network = open_clip.create_model("physpatch-tiny", pretrained=None).eval()
    save_file(network.state_dict(), folder / "clip.safetensors")
    return network


class Product(BaseHTTPRequestHandler):
    """A small product: the colour networks behind HTTP, in each form of answer, sometimes busy or broken."""

    network: ClassVar[nn.Module] = ColourNet().eval()
    busy: ClassVar[int] = 0
    sizes: ClassVar[list[int]] = []
    tokens: ClassVar[list[str | None]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.path = self.path.partition("?")[0]
        type(self).tokens.append(self.headers["Authorization"])
        if type(self).busy:
            type(self).busy -= 1
            return self._send(503, b"busy")
        if self.path == "/slow":
            time.sleep(3)
        if self.path == "/text":
            return self._send(200, b"hello")
        if self.path == "/locked":
            return self._send(401, b"")
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/logits")
            return self.end_headers()
        pictures = self._pictures(body)
        type(self).sizes.append(len(pictures))
        if self.path == "/one":
            return self._send(200, json.dumps({"labels": ["x"], "probabilities": [[1.0]] * len(pictures)}).encode())
        images = torch.stack([torch.from_numpy(np.asarray(p).copy()).permute(2, 0, 1) / 255 for p in pictures])
        with torch.no_grad():
            self._send(200, json.dumps(self._boxes(images) if "boxes" in self.path else self._scores(images)).encode())

    def _pictures(self, body: bytes) -> list[Image.Image]:
        if "json" in self.headers["Content-Type"]:
            found = [base64.b64decode(text) for text in json.loads(body)["images"]]
        else:
            boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
            parts = [part for part in body.split(b"--" + boundary) if b'name="images"' in part]
            found = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts]
        return [Image.open(io.BytesIO(content)) for content in found]

    def _scores(self, images: torch.Tensor) -> object:
        logits = self.network(images)
        shares = logits.softmax(dim=1)
        if self.path == "/logits":
            return {"labels": CATEGORIES, "logits": logits.tolist()}
        if self.path == "/probabilities":
            return {"labels": CATEGORIES, "probabilities": shares.tolist()}
        if self.path == "/short":
            return {"labels": CATEGORIES, "logits": logits[:, :2].tolist()}
        best = [[{"label": CATEGORIES[i], "score": float(row[i])} for i in row.topk(3).indices] for row in shares]
        return {"predictions": best}

    def _boxes(self, images: torch.Tensor) -> object:
        found = [
            [
                {"label": DETECTED[int(index)], "score": float(score), "box": box.tolist()}
                for box, index, score in zip(*picture.values(), strict=True)
                if score > 0.1
            ]
            for picture in BoxesApart()(images)
        ]
        if self.path == "/wrong-boxes":
            return {"labels": DETECTED, "boxes": [[{"label": "stop", "score": 1.0, "box": [1, 2]}] for _ in found]}
        return {"boxes": found} if self.path == "/boxes-only" else {"labels": DETECTED, "boxes": found}

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(BrokenPipeError):  # who asked gave up
            self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def served() -> Iterator[str]:
    """Serve the product on loopback; yield its address."""
    Product.busy, Product.sizes, Product.tokens = 0, [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Product) as server:
        serve: Callable[..., Any] = server.serve_forever
        threading.Thread(target=serve, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
