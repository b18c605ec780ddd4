"""Mitsuba 3 in the fastest of its spectral variants that works on this machine, and its denoiser."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import UnavailableError

_VARIANTS = ("cuda_ad_spectral", "llvm_ad_spectral", "scalar_spectral")  # fastest first
_LIBRARY = "DRJIT_LIBLLVM_PATH"  # where Dr.Jit looks for LLVM
_LEAST_LLVM = 16  # older ones end the process on processors that they do not know
_TRIAL = "import mitsuba as mi; mi.set_variant({!r}); mi.render(mi.load_dict(mi.cornell_box()), spp=1).numpy()"
_TRIAL_S = 120
_LLVM_FOLDERS = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/llvm-*/lib",
    "/opt/homebrew/opt/llvm/lib",
)


@cache
def engine() -> ModuleType:
    """Import Mitsuba and choose a variant, the fastest that renders a trial picture in a process of its own.

    A variant can end the process that tries it, such as one whose LLVM is older than the processor; so another one does.

    Raises:
        UnavailableError: Mitsuba or its denoiser is not installed, or no variant works.
    """
    try:
        import mitsuba
        import mitsuba_oidn  # noqa: F401  # at once, not when the first frame is rendered
    except ImportError as error:
        raise UnavailableError(
            "rendered scenes need Mitsuba and its denoiser; install with: pip install 'physpatch[render]'"
        ) from error
    if _LIBRARY not in os.environ and (library := newest_llvm()) is not None:
        os.environ[_LIBRARY] = str(library)
    working = next((name for name in _VARIANTS if name in mitsuba.variants() and _works(name)), None)
    if working is None:
        raise UnavailableError(f"Mitsuba renders with none of {', '.join(_VARIANTS)} here")
    mitsuba.set_variant(working)
    mitsuba.set_log_level(mitsuba.LogLevel.Error)
    return mitsuba


@cache
def library_versions() -> tuple[str, ...]:
    """List the versions of what makes pixels beside Mitsuba's variant: its own, its denoiser's and colour-science's."""
    return tuple(version(name) for name in ("mitsuba", "mitsuba-oidn", "colour-science"))


def denoised(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove the noise of a render, a linear picture (H, W, 3), by Intel's Open Image Denoise."""
    import mitsuba_oidn

    return np.asarray(mitsuba_oidn.denoise(np.ascontiguousarray(light), hdr=True), dtype=np.float32)


def make_opaque(values: Any) -> None:
    """Keep values out of compiled code, so that others in their place do not make Dr.Jit compile it anew, for seconds."""
    import drjit

    drjit.make_opaque(values)


def newest_llvm() -> Path | None:
    """Find the system's newest LLVM library that is new enough; None if there is none."""
    libraries = {version: file for version, file in _llvm_libraries() if version >= _LEAST_LLVM}
    return libraries[max(libraries)] if libraries else None


def _llvm_libraries() -> Iterator[tuple[int, Path]]:
    for folder in _LLVM_FOLDERS:
        for file in Path("/").glob(f"{folder.lstrip('/')}/libLLVM*"):  # a pattern from the root on
            if version := re.search(r"LLVM(?:\.so\.|-|\.)(\d+)", file.name):
                yield int(version[1]), file


def _works(variant: str) -> bool:
    if variant == _VARIANTS[-1]:
        return True  # needs nothing
    command: list[Any] = [sys.executable, "-c", _TRIAL.format(variant)]
    try:
        return subprocess.run(command, capture_output=True, timeout=_TRIAL_S).returncode == 0
    except subprocess.TimeoutExpired:
        return False
