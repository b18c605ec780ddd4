"""The software versions and the device behind a result, and the OpenMP workers of a thread."""

import ctypes
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import physpatch
from calibration.common.text import number_of

_VERSIONED = ("torch", "torchvision", "kornia", "numpy", "opencv-python", "ultralytics", "grad-cam")
_PAUSE_SOFT = 1  # of omp_pause_resource_t


def versions() -> dict[str, str]:
    """List the versions of physpatch, Python, and the packages that results depend on; absent ones are left out."""
    installed = {"physpatch": physpatch.__version__, "python": platform.python_version()}
    for package in _VERSIONED:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def device_name(device: torch.device) -> str:
    """Describe the device in words, for records."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {number_of(torch.get_num_threads(), 'thread')}"


def release_openmp_workers() -> None:
    """Release the calling thread's OpenMP workers; they start again when they are needed.

    Each thread that runs a network gets its own workers. Where there are more workers than cores, GNU's OpenMP lets them
    sleep between operations instead of spinning (libgomp, team.c, ``gomp_managed_threads``), and a network on a CPU takes
    twice as long (docs/results.md). So a thread that has finished with networks makes room for others.
    """
    for library in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*")):
        with suppress(OSError, AttributeError):  # not GNU's OpenMP: nothing to do
            ctypes.CDLL(str(library)).omp_pause_resource_all(_PAUSE_SOFT)
