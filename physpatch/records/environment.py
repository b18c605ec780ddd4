"""What a number depends on beside the code, versions and device, and the care that a device wants."""

import ctypes
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import physpatch

_VERSIONED = ("torch", "torchvision", "kornia", "numpy", "opencv-python", "ultralytics", "grad-cam")
_PAUSE_SOFT = 1  # of omp_pause_resource_t


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


def release_openmp_workers() -> None:
    """Let go of the calling thread's OpenMP workers; they come again when they are needed.

    Each thread that runs a network gets workers of its own. Where all together are more than the cores, GNU's OpenMP has them
    sleep between any two operations instead of spinning (libgomp, team.c, ``gomp_managed_threads``), and a network on a CPU
    takes twice as long (docs/results.md). So a thread that is done with networks makes room for the next one.
    """
    for library in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*")):
        with suppress(OSError, AttributeError):  # another OpenMP than GNU's: nothing to do
            ctypes.CDLL(str(library)).omp_pause_resource_all(_PAUSE_SOFT)
