"""How a model runs: its time and memory, its gradient, and whether an image has the same answer again and alone."""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from physpatch.records.check_record import Finding, Outcome
from physpatch.victims.detector import Detector
from physpatch.victims.networks.gradients import CUT
from physpatch.victims.networks.outputs import is_elsewhere
from physpatch.victims.protocol import Victim

_TIMED = 3  # passes
_ALIKE = 1e-3  # difference of confidences that counts as the same answer, as on another device or in another batch


def forward_seconds(victim: Victim, images: Tensor) -> float:
    """Measure how long one of several images takes forward."""
    if victim.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(victim.device)
    with torch.no_grad():
        return _seconds(lambda: victim.scores(images), victim) / len(images)


def check_speed(victim: Victim, images: Tensor, forward: float) -> Iterator[Finding]:
    """Say how long an image takes forward, which was measured, and backward."""
    numbers: dict[str, Any] = {"forward_ms": round(1000 * forward, 2)}
    words = f"{_milliseconds(forward)} a picture forward"
    if victim.differentiable:
        with_backward = _seconds(lambda: _input_gradient(victim, images), victim) / len(images)
        numbers["forward_and_backward_ms"] = round(1000 * with_backward, 2)
        words += f", {_milliseconds(with_backward)} with the backward pass"
    yield Finding("time", f"{words}, {len(images)} at once", numbers=numbers)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms" if seconds >= 1e-3 else f"{1000 * seconds:.2g} ms"


def check_memory(victim: Victim) -> Iterator[Finding]:
    """Say how large torch's weights are, and how much memory was in use at most; nothing about a model elsewhere."""
    if victim.queries is not None:
        return
    on_gpu = victim.device.type == "cuda"
    weights = [t for t in victim.module.state_dict().values() if isinstance(t, Tensor)]
    size = None if is_elsewhere(victim.module) else sum(t.numel() * t.element_size() for t in weights)
    peak = torch.cuda.max_memory_allocated(victim.device) if on_gpu else _resident_bytes()
    place = "on the GPU" if on_gpu else "of this process, all told"
    parts = [] if size is None else [f"weights {size / 2**20:.1f} MiB"]
    if peak is not None:
        parts.append(f"at most {peak / 2**20:.0f} MiB {place}")
    yield Finding("memory", ", ".join(parts), numbers={"weights_bytes": size, "peak_bytes": peak})


def _resident_bytes() -> int | None:
    """Return the largest memory of this process so far; None on systems that do not tell."""
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _seconds(run: Callable[[], object], victim: Victim) -> float:
    run()  # the first pass also allocates and chooses algorithms
    durations = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        run()
        if victim.device.type == "cuda":
            torch.cuda.synchronize()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


def _input_gradient(victim: Victim, images: Tensor) -> Tensor | None:
    """Compute the gradient of the best scores; None where none reaches the images."""
    leaf = images.clone().requires_grad_()
    with torch.enable_grad():
        best = victim.scores(leaf).amax(dim=1).sum()
        return torch.autograd.grad(best, leaf, allow_unused=True)[0] if best.requires_grad else None


def check_gradient(victim: Victim, images: Tensor) -> Iterator[Finding]:
    """Check that the gradient of a model that has one is finite, and zero for no image."""
    if not victim.differentiable:
        # A network in torch should have one: somebody's code cuts it.
        cut = not is_elsewhere(victim.module)
        words = f"none: {victim.remark or 'predictions only'}; train by --technique black-box"
        yield Finding("gradient", words, "fails" if cut else "note")
        return
    gradient = _input_gradient(victim, images)
    if gradient is None and isinstance(victim, Detector) and not victim.predictions(images)[1].any():
        words = "not tried: no box of any confidence was found; give photographs with its objects by --data"
        yield Finding("gradient", words, "note", {"finite": None, "nonzero": None})
        return
    if gradient is None:
        yield Finding("gradient", f"none: {CUT}", "fails", {"finite": None, "nonzero": False})
        return
    size = gradient.flatten(1).abs()
    finite, nonzero = bool(size.isfinite().all()), bool((size.amax(dim=1) > 0).all())
    words = "finite and not zero" if finite and nonzero else "zero" if finite else "not finite"
    yield Finding("gradient", words, "works" if finite and nonzero else "fails", {"finite": finite, "nonzero": nonzero})


@torch.no_grad()
def check_steadiness(victim: Victim, images: Tensor) -> Iterator[Finding]:
    """Check that an image has the same answer again, and alone."""
    first, again = (victim.confidences(victim.scores(images)) for _ in range(2))
    alone = torch.cat([victim.confidences(victim.scores(image[None])) for image in images])
    steady = True
    for name, confidences, cure in (
        ("determinism", again, "something in it is random, such as dropout"),
        ("batch invariance", alone, "an answer depends on its neighbours, as in batch norm that still learns"),
    ):
        apart = float((first - confidences).abs().max())
        finite = bool(first.isfinite().all())
        outcome: Outcome = "fails"
        if not finite:
            words = "its scores are not finite"
        elif not steady:
            words, outcome = "not told, because an image has another answer each time", "note"
        elif apart > _ALIKE:
            words, steady = f"confidences differ by up to {apart:.2g}: {cure}", False
        else:
            words, outcome = "the same bit for bit" if apart == 0 else f"the same up to {apart:.1g}", "works"
        yield Finding(name, words, outcome, {"difference": apart})


def check_queries(victim: Victim) -> Iterator[Finding]:
    """Say what was sent to a model elsewhere."""
    sent = victim.queries
    if sent is not None:
        words = f"{sent.images} pictures were sent in {sent.requests} requests for this check"
        yield Finding("queries", words, numbers={"requests": sent.requests, "images": sent.images})
