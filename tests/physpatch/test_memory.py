"""Memory that is kept, and what that saves."""

import os
import platform
import subprocess
import sys

import pytest

_WORK = """
import resource, torch
from physpatch import keep_freed_memory
kept = keep_freed_memory()
def work():
    for _ in range(20):
        torch.ones(16 << 20)  # 64 MiB, 16384 pages
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _ran(**settings: str) -> tuple[bool, int]:
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    ran = subprocess.run(
        [sys.executable, "-c", _WORK], capture_output=True, text=True, check=True, env=surroundings | settings
    )
    kept, faults = ran.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_kept_memory_is_not_asked_for_again() -> None:
    kept, faults = _ran()
    assert kept
    assert faults < 1000, "pages were asked for again"


@pytest.mark.parametrize("setting", ["MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_"])
def test_a_setting_of_the_user_is_left_as_it_is(setting: str) -> None:
    kept, faults = _ran(**{setting: "65536"})
    assert not kept
    assert faults > 1000, "the test's work shows no difference"
