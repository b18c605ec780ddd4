"""Train the network of the defence ``sac`` again.

    python -m physpatch.training.patch_segmenter --data PHOTOGRAPHS [--data …] --out WEIGHTS [--steps 1500]

Patches of random cells, in many grids and palettes, are placed into photographs by EOT, on sheets and cut out; a quarter of the
pictures have none. No trained patch is shown. The photographs are split by content (``physpatch.data.splits.detector_parts``);
the last part measures, at the end, how much of a patch is found and how often something is covered where there is none.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from calibration.common.files import atomic_path
from physpatch.attack.placement import Placement
from physpatch.data.photographs import list_photos, load_photos
from physpatch.data.splits import detector_parts
from physpatch.defences.segment_and_complete import LEAST_SHARE
from physpatch.defences.segment_and_complete.network import SIDE_PX, WEIGHTS, PatchSegmenter
from physpatch.records.eot_config import EotConfig
from physpatch.rendering.eot import sample
from physpatch.victims.networks.memory import keep_freed_memory
from physpatch.victims.preprocessing import Preprocessing

_SIZE = 224  # pixels of a scene, before it is made smaller
_BATCH = 16
_RATE, _LAST_RATE, _WARM_STEPS = 2e-3, 2e-5, 100
_REUSED = 0.5  # share of the steps with scenes of an earlier one
_POOL = 40  # batches kept for that
_BARE = 0.25  # share of the pictures without a patch
_AREAS = (0.02, 0.25)  # of the picture
_SIDES = (3, 50)  # cells of a patch along a side
_CUTS, _CUT_SHARES = ("sheet", "square"), (0.5, 0.5)
_TEST_BATCHES, _TEST_SEED = 20, 999_983


class Scenes:
    """Pictures with patches of random cells, reproducibly by seed."""

    def __init__(self, photographs: Tensor, seed: int) -> None:
        """Prepare to place patches in photographs (N, 3, H, W) uint8."""
        self._photographs = photographs
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._views = EotConfig.preset("desk").changed(scale=(0.8, 1.2))

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Render pictures (count, 3, 128, 128), sRGB in [0, 1]; also return how much of each pixel is a patch's."""
        chosen = torch.from_numpy(self._rng.integers(len(self._photographs), size=count))
        images = self._photographs[chosen].float() / 255
        side = int(np.exp(self._rng.uniform(*np.log(_SIDES))))
        area = float(np.exp(self._rng.uniform(*np.log(_AREAS))))
        placement = Placement.cut(str(self._rng.choice(_CUTS, p=_CUT_SHARES)), area, (side, side))
        cells = torch.from_numpy(np.stack([self._cells(side) for _ in range(count)])).permute(0, 3, 1, 2)
        views = sample(self._views, count, self._generator)
        pictures, truth = placement.compose(images, cells, views), placement.coverage(images, cells, views)
        bare = torch.from_numpy(self._rng.random(count) < _BARE)[:, None, None, None]
        pictures, truth = torch.where(bare, images, pictures), torch.where(bare, 0.0, truth)
        return _shrunk(pictures), _shrunk(truth)

    def _cells(self, side: int) -> NDArray[np.float32]:
        """Draw cells (side, side, 3): of any colour, of a palette, saturated, or around a slowly changing colour."""
        kind, whole = self._rng.integers(4), (side, side, 3)
        if kind == 0:
            cells = self._rng.random(whole)
        elif kind == 1:
            palette = self._rng.random((self._rng.integers(2, 7), 3))
            cells = palette[self._rng.integers(len(palette), size=(side, side))]
        elif kind == 2:
            cells = self._rng.integers(0, 2, whole).astype(float)
        else:
            coarse = torch.from_numpy(self._rng.random((1, 3, 3, 3)))
            slow = F.interpolate(coarse, size=(side, side), mode="bilinear")[0].permute(1, 2, 0)
            cells = slow.numpy() + self._rng.normal(0, self._rng.uniform(0.1, 0.4), whole)
        return np.asarray(cells.clip(0, 1), np.float32)


def _shrunk(images: Tensor) -> Tensor:
    """Resize images (N, C, H, W) to the segmenter's size."""
    return F.interpolate(images, size=(SIDE_PX, SIDE_PX), mode="bilinear", antialias=True)


def fit(photographs: Tensor, steps: int, seed: int) -> PatchSegmenter:
    """Train a network on photographs (N, 3, H, W) uint8; print the loss every 50 steps."""
    torch.manual_seed(seed)
    network = PatchSegmenter().to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-3)
    scenes, rng = Scenes(photographs, seed), np.random.default_rng(seed)
    pool: list[tuple[Tensor, Tensor]] = []
    began = time.perf_counter()
    for step in range(steps):
        if len(pool) < 4 or rng.random() > _REUSED:
            pool = [*pool, scenes.batch(_BATCH)][-_POOL:]
            images, truth = pool[-1]
        else:
            images, truth = pool[int(rng.integers(len(pool)))]
        rate = _LAST_RATE + 0.5 * (_RATE - _LAST_RATE) * (1 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / _WARM_STEPS)
        loss = _loss(network(images.contiguous(memory_format=torch.channels_last)), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % 50 == 0:
            pace = (time.perf_counter() - began) / (step + 1)
            print(f"step {step + 1}, loss {loss.item():.3f}, {pace:.2f} s per step", flush=True)  # noqa: T201
    return network.eval()


def _loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Add cross-entropy and one minus the Dice coefficient."""
    probabilities = logits.sigmoid()
    intersection, sums = ((x).sum(dim=(1, 2, 3)) for x in (probabilities * truth, probabilities + truth))
    return F.binary_cross_entropy_with_logits(logits, truth) + (1 - (2 * intersection + 1) / (sums + 1)).mean()


@torch.no_grad()
def measured(network: PatchSegmenter, photographs: Tensor) -> dict[str, float]:
    """Measure on photographs (N, 3, H, W) uint8: the median IoU with patches, and the shares of pictures taken for patched."""
    scenes = Scenes(photographs, _TEST_SEED)
    overlaps, hits, false_alarms = [], [], []
    for _ in range(_TEST_BATCHES):
        images, truth = scenes.batch(_BATCH)
        probabilities = network(images).sigmoid()
        mask, true_mask = probabilities > 0.5, truth > 0.5
        iou = (mask & true_mask).sum(dim=(1, 2, 3)) / (mask | true_mask).sum(dim=(1, 2, 3)).clamp(min=1)
        patched, suspicious = true_mask.any(dim=(1, 2, 3)), probabilities.mean(dim=(1, 2, 3)) > LEAST_SHARE
        overlaps += iou[patched].tolist()
        hits += suspicious[patched].tolist()
        false_alarms += suspicious[~patched].tolist()
    return {
        "iou_median": float(np.median(overlaps)),
        "patched_suspected": float(np.mean(hits)),
        "bare_suspected": float(np.mean(false_alarms)),
        "patched": len(hits),
        "bare": len(false_alarms),
    }


def main() -> None:
    """Train, measure and save the network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, help="folder of photographs")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keep_freed_memory()
    photos = {photo.path: photo for data in options.data for photo in list_photos(data, None)}
    parts = detector_parts(photos)
    plain = Preprocessing(_SIZE, _SIZE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    train, test = (load_photos([photos[path] for path in part], plain).images for part in (parts.train, parts.test))
    network = fit(train, options.steps, options.seed)
    record = {"seed": options.seed, "steps": options.steps, "photographs": len(train), **measured(network, test)}
    state = {name: (t.half() if t.is_floating_point() else t).contiguous() for name, t in network.state_dict().items()}
    with atomic_path(options.out) as file:
        save_file(state, file, metadata={"physpatch_segmenter": json.dumps(record)})
    print(json.dumps(record))  # noqa: T201


if __name__ == "__main__":
    main()
