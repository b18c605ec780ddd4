"""What a number depends on beside the code: versions and device."""

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

import physpatch

_VERSIONED = ("torch", "torchvision", "kornia", "numpy", "opencv-python", "ultralytics", "grad-cam")


def versions() -> dict[str, str]:
    """Versions of this program and of what its numbers depend on."""
    found = {"physpatch": physpatch.__version__, "python": platform.python_version()}
    for package in _VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def device_name(device: torch.device) -> str:
    """The device in words, for records."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
