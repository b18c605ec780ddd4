"""The embedded detector's network: ultralytics' YOLOv8n with the signs as its classes, filled from a plain file of tensors."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from calibration.common.errors import InputError
from calibration.sheet.road_signs import SIGNS
from physpatch.victims.families.ultralytics_detectors import import_ultralytics
from physpatch.victims.weights import read_state

ARCHITECTURE = "yolov8n.yaml"
WEIGHTS = Path(__file__).parent / "signs.safetensors"
RECIPE = "physpatch_signs"  # key of the file's metadata that holds how it was trained, as JSON


def new_network() -> Any:
    """A YOLOv8n with random weights, seeded by torch, in training mode."""
    import_ultralytics()
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    network = DetectionModel(ARCHITECTURE, nc=len(SIGNS), verbose=False)
    network.names = dict(enumerate(SIGNS))
    network.args = get_cfg()  # of which the loss takes its weights
    return network


def trained_network(file: Path = WEIGHTS, trust: bool = False) -> Any:
    """With the weights of ``file``, float32.

    Raises:
        InputError: missing, damaged, or weights of another network.
    """
    network = new_network()
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in read_state(file, trust).items()
    }
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"{file} does not hold weights of the signs' detector: {str(error).splitlines()[0]}"
        ) from error
    return network


def learned_from(file: Path = WEIGHTS) -> frozenset[str]:
    """Read which photographs the detector was trained or watched on, named as by ``physpatch.data.splits.content_id``.

    Weights that do not tell, such as somebody else's, give none.
    """
    try:
        with safe_open(file, "pt") as weights:
            recipe = json.loads((weights.metadata() or {}).get(RECIPE, "{}"))
    except (SafetensorError, OSError, json.JSONDecodeError):
        return frozenset()
    return frozenset(recipe.get("learned_from", ()))
