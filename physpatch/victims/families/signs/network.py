"""The network of the embedded detector: ultralytics' YOLOv8n with the signs as its classes, loaded from safetensors."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from calibration.sheet.road_signs import SIGNS
from physpatch.victims.families.ultralytics_detectors import import_ultralytics
from physpatch.victims.weights import fill_network, read_state

ARCHITECTURE = "yolov8n.yaml"
WEIGHTS = Path(__file__).parent / "signs.safetensors"
RECIPE = "physpatch_signs"  # key of the file's metadata under which the training settings are stored, as JSON


def new_network(architecture: str = ARCHITECTURE) -> Any:
    """Create a network in training mode, with random weights drawn from torch's global generator.

    ``architecture`` is the name of ultralytics' description of it; the embedded weights are of the default.
    """
    import_ultralytics()
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    network = DetectionModel(architecture, nc=len(SIGNS), verbose=False)
    network.names = dict(enumerate(SIGNS))
    network.args = get_cfg()  # the loss reads its weights from them
    return network


def trained_network(file: Path = WEIGHTS, trust: bool = False) -> Any:
    """Create the network with the weights of ``file``, as float32.

    Raises:
        InputError: the file is missing or damaged, or holds the weights of another network.
    """
    network = new_network()
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in read_state(file, trust).items()
    }
    fill_network(network, state, file, "the detector of signs")
    return network


def learned_from(file: Path = WEIGHTS) -> frozenset[str]:
    """Read which photographs the detector was trained or validated on, named by ``physpatch.data.splits.content_id``.

    The result is empty for weights that do not record them.
    """
    try:
        with safe_open(file, "pt") as weights:
            recipe = json.loads((weights.metadata() or {}).get(RECIPE, "{}"))
    except (SafetensorError, OSError, json.JSONDecodeError):
        return frozenset()
    return frozenset(recipe.get("learned_from", ()))
