"""Printable adversarial patches, trained for the camera and measured honestly.

``import physpatch`` loads no torch; the names below load what they need when they are first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Patch": "physpatch.records.patch_file",
    "Victim": "physpatch.victims.protocol",
    "load_victim": "physpatch.victims.registry",
    "keep_freed_memory": "physpatch.victims.networks.memory",
    "load_photographs": "physpatch.data.photographs",
    "EotConfig": "physpatch.records.eot_config",
    "TrainConfig": "physpatch.records.config",
    "Trainer": "physpatch.training.trainer",
    "StepRecord": "physpatch.training.trainer",
    "evaluate_patch": "physpatch.evaluation.classification",
    "PatchMetrics": "physpatch.evaluation.patch_metrics",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'physpatch' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
