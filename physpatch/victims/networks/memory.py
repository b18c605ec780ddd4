"""Memory for the tensors of networks on the CPU: what one layer frees, the next one uses."""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of mallopt(3)
_KEPT_BYTES = 2**31 - 1  # free memory at the heap's end beyond this is given back; the largest value that mallopt takes
_GROWTH_BYTES = 2**26  # by which the heap grows at least
_OWN_SETTINGS = (
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "GLIBC_TUNABLES",
)


def keep_freed_memory() -> bool:
    """Make the C library of this process keep freed memory for what is allocated next.

    The GNU C library asks the system for each large tensor and gives it back when the tensor is gone. The system clears
    all its pages every time, which takes a third of a training step or more. Settings of the user, in the environment
    variables of mallopt(3), are left as they are.

    Returns:
        Whether it does; False with other C libraries, and where the user has set something.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _OWN_SETTINGS):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _KEPT_BYTES), (_M_TOP_PAD, _GROWTH_BYTES))
    return all(library.mallopt(name, value) == 1 for name, value in settings)
