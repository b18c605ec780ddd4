"""Checks of a model before anything is measured with it: what works, and the usual mistakes in its preprocessing."""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from physpatch.data.photographs import (
    UNLABELLED,
    Photo,
    limited,
    load_photos,
    numbered_origins,
    photos_for,
    photos_with_objects,
)
from physpatch.evaluation.classification import change_over, rate_over
from physpatch.evaluation.grad_cam import deletion_auc, grad_cam, random_heat
from physpatch.stats.intervals import mean_interval
from physpatch.victims.detector import Detector
from physpatch.victims.freezing import untouched
from physpatch.victims.networks.cam_layers import list_cam_layers
from physpatch.victims.networks.gradients import CUT
from physpatch.victims.networks.outputs import FixedBatch, is_elsewhere
from physpatch.victims.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from physpatch.victims.protocol import Victim

Outcome = Literal["works", "note", "fails"]

_MOST_PHOTOGRAPHS = 200
_SHOWN_CLASSES = 4
_BATCH = 16
_MOST_WITH_OBJECTS, _FEWEST_WITH_OBJECTS = 32, 3
_TIMED, _TIMED_IMAGES = 3, 4
_HEAT_PHOTOGRAPHS, _HEAT_LAYERS = 8, 4
_USUAL_CROP = 0.875  # of the resized side, for most networks trained on ImageNet
_WORTH_SAYING = 0.03  # gain of accuracy by another preprocessing, several of which are tried
_ALIKE = 1e-3  # difference of confidences that counts as the same answer, as on another device or in another batch
_NORMALISATIONS = {
    "ImageNet's mean and standard deviation": (IMAGENET_MEAN, IMAGENET_STD),
    "mean 0.5 and standard deviation 0.5": ((0.5,) * 3, (0.5,) * 3),
    "pixels from 0 to 1": ((0.0,) * 3, (1.0,) * 3),
    "pixels from 0 to 255": ((0.0,) * 3, (1 / 255,) * 3),
}


@dataclass(frozen=True)
class Finding:
    """One line of a check: what was checked, what was found in words, the outcome, and the numbers behind it."""

    what: str
    words: str
    outcome: Outcome = "works"
    numbers: dict[str, Any] = field(default_factory=dict)


def check_model(
    victim: Victim,
    data: str,
    *,
    columns: str | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Finding]:
    """Check a victim: accuracy and preprocessing, time and memory, gradients, determinism, batches, and heat.

    Args:
        victim: the model.
        data: labelled photographs, see :func:`physpatch.data.photographs.list_photos`.
        columns: of these data, if they are a table.
        seed: of the choice among many photographs.
        progress: called with the number of checks done and their total.

    Raises:
        InputError: no such data.
    """
    photos = photos_for(victim, data, columns=columns)
    labelled = [photo for photo in photos if photo.label != UNLABELLED]
    chosen = limited(labelled or photos, _MOST_PHOTOGRAPHS, seed)
    images = _images(victim, chosen[: max(_HEAT_PHOTOGRAPHS, _TIMED_IMAGES)])
    checks: list[Callable[[], Iterator[Finding]]] = [
        lambda: _inputs(victim),
        lambda: _answers(victim, data, columns, chosen if labelled else [], images, seed),
        lambda: _speed(victim, images[:_TIMED_IMAGES]),
        lambda: _gradient(victim, images[:_TIMED_IMAGES]),
        lambda: _steadiness(victim, images[:_TIMED_IMAGES]),
        lambda: _heat(victim, images[:_HEAT_PHOTOGRAPHS]),
    ]
    findings: list[Finding] = []
    with untouched(victim):
        for number, check in enumerate(checks, start=1):
            findings += check()
            progress(number, len(checks))
    return findings


def _images(victim: Victim, photos: Sequence[Photo]) -> Tensor:
    return load_photos(photos, victim.preprocessing).images.to(victim.device).float() / 255


def _inputs(victim: Victim) -> Iterator[Finding]:
    given = victim.preprocessing
    colours = "BGR" if given.bgr else "RGB"
    mean, std = (", ".join(f"{value:.3g}" for value in values) for values in (given.mean, given.std))
    fit = "the whole squashed to" if given.squash else "a shorter side of"
    yield Finding(
        "input",
        f"{given.size} px square of {fit} {given.resize} px ({given.interpolation}), {colours}, mean {mean}, standard "
        f"deviation {std}",
        numbers=asdict(given),
    )
    if victim.remark and victim.differentiable:  # or the line about gradients says it
        yield Finding("remark", victim.remark, "note")
    for part in victim.module.modules():
        if isinstance(part, FixedBatch):
            yield Finding("batch", part.words, numbers={"images": part.size, "exactly": part.filled})
    names = ", ".join(victim.categories[:_SHOWN_CLASSES]) + (", …" if len(victim.categories) > _SHOWN_CLASSES else "")
    yield Finding("classes", f"{len(victim.categories)}: {names}")
    if victim.threshold:
        what = "boxes count" if isinstance(victim, Detector) else "the top class counts"
        yield Finding(
            "threshold", f"{what} from {100 * victim.threshold:.3g} % confidence", numbers={"least": victim.threshold}
        )


def _answers(
    victim: Victim, data: str, columns: str | None, labelled: Sequence[Photo], images: Tensor, seed: int
) -> Iterator[Finding]:
    if isinstance(victim, Detector):
        shown = limited(photos_with_objects(victim, data, columns), _MOST_WITH_OBJECTS, seed)
        yield _boxes_on_objects(victim, shown) if shown else _boxes_anywhere(victim, images)
    elif labelled:
        yield from _accuracy(victim, labelled)
    else:
        words = f"{data} has no photographs labelled with this model's classes; give some with --data"
        yield Finding("clean accuracy", words, "note")


def _boxes_anywhere(victim: Detector, images: Tensor) -> Finding:
    boxes = _count_boxes(victim, images)
    words = f"{boxes} boxes in {len(images)} photographs; give photographs with labelled objects to tell whether they are right"
    return Finding("boxes", words, "works" if boxes else "note", {"boxes": boxes, "n": len(images)})


def _boxes_on_objects(victim: Detector, photos: Sequence[Photo]) -> Finding:
    """Count the boxes on photographs with objects: a detector with a wrong preprocessing usually finds none."""
    images = load_photos(photos, victim.preprocessing).images.to(victim.device).float() / 255
    boxes, n = _count_boxes(victim, images), len(images)
    numbers = {"boxes": boxes, "n": n}
    if boxes:
        words = (
            f"{boxes} boxes in {n} photographs with objects; a detector's accuracy is measured by `physpatch evaluate`"
        )
        return Finding("boxes", words, numbers=numbers)
    words = f"no box on {n} photographs with objects: check preprocessing, labels and threshold"
    if not is_elsewhere(victim.module):
        finds = [
            mistake
            for mistake, other in _likely_mistakes(victim.preprocessing)
            if other.resize == victim.preprocessing.resize  # photographs with boxes are not cropped
            and _count_boxes(replace(victim, preprocessing=other), images)
        ]
        words += f"; it finds some with {', or '.join(finds)}" if finds else ""
    return Finding("boxes", words, "fails" if n >= _FEWEST_WITH_OBJECTS else "note", numbers)


def _count_boxes(victim: Detector, images: Tensor) -> int:
    return sum(len(found) for part in images.split(_BATCH) for found in victim.find(part))


def _accuracy(victim: Victim, photos: Sequence[Photo]) -> Iterator[Finding]:
    """Measure clean accuracy, and whether the usual other preprocessings would do better."""
    right, units, everything = (
        _right(victim, photos),
        numbered_origins(photos),
        torch.ones(len(photos), dtype=torch.bool),
    )
    rate, chance = rate_over(right, everything, units), 1 / len(victim.categories)
    lucky = rate.ci95 is not None and rate.ci95[0] <= chance
    words = f"{rate}" + (", which may be chance: check labels and preprocessing" if lucky else "")
    yield Finding("clean accuracy", words, "fails" if lucky else "works", {"clean_accuracy": rate.to_dict()})
    better = []
    for mistake, other in _likely_mistakes(victim.preprocessing):
        changed = _right(replace(victim, preprocessing=other), photos)
        gain = change_over(right, changed, everything, units)
        if gain.is_significant and gain.difference is not None and gain.difference >= _WORTH_SAYING:
            better.append((gain.difference, f"{mistake} gives {str(gain).replace('points', 'points more')}", mistake))
    if better:
        _, words, mistake = max(better)
        yield Finding("preprocessing", f"likely wrong: {words}", "fails", {"likely": mistake})
    else:
        yield Finding("preprocessing", "no usual alternative does better (colour order, mean and deviation, crop)")


def _likely_mistakes(given: Preprocessing) -> Iterator[tuple[str, Preprocessing]]:
    yield (
        ("RGB" if given.bgr else "BGR") + " in place of " + ("BGR" if given.bgr else "RGB"),
        replace(given, bgr=not given.bgr),
    )
    for words, (mean, std) in _NORMALISATIONS.items():
        if (mean, std) != (given.mean, given.std):
            yield words, replace(given, mean=mean, std=std)
    whole, cropped = given.size, round(given.size / _USUAL_CROP)
    if given.resize != whole:
        yield f"no crop (resize = {whole})", replace(given, resize=whole)
    if given.resize < cropped:
        yield f"a central crop (resize = {cropped})", replace(given, resize=cropped)


@torch.no_grad()
def _right(victim: Victim, photos: Sequence[Photo]) -> Tensor:
    """Tell which photographs (N,) a victim recognises."""
    loaded = load_photos(photos, victim.preprocessing)
    found: list[Tensor] = []
    for rows in torch.arange(len(photos)).split(_BATCH):
        scores = victim.scores(loaded.images[rows].to(victim.device).float() / 255)
        answers = victim.judged(scores).argmax(dim=1).cpu()
        found.append(answers == loaded.labels[rows])
    return torch.cat(found)


def _speed(victim: Victim, images: Tensor) -> Iterator[Finding]:
    on_gpu = victim.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(victim.device)
    with torch.no_grad():
        forward = _seconds(lambda: victim.scores(images), on_gpu) / len(images)
    numbers: dict[str, Any] = {"forward_ms": round(1000 * forward, 2)}
    words = f"{1000 * forward:.1f} ms a picture forward"
    if victim.differentiable:
        both = _seconds(lambda: _input_gradient(victim, images), on_gpu) / len(images)
        numbers["forward_and_backward_ms"] = round(1000 * both, 2)
        words += f", {1000 * both:.1f} ms with the backward pass"
    yield Finding("time", f"{words}, {len(images)} at once", numbers=numbers)
    weights = sum(t.numel() * t.element_size() for t in victim.module.state_dict().values() if isinstance(t, Tensor))
    peak = torch.cuda.max_memory_allocated(victim.device) if on_gpu else _resident_bytes()
    place = "on the GPU" if on_gpu else "of this process, all told"
    most = "" if peak is None else f", at most {peak / 2**20:.0f} MiB {place}"
    yield Finding(
        "memory",
        f"weights {weights / 2**20:.1f} MiB{most}",
        numbers={"weights_bytes": weights, "peak_bytes": peak},
    )


def _resident_bytes() -> int | None:
    """Return the largest memory of this process so far; None on systems that do not tell."""
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _seconds(run: Callable[[], object], on_gpu: bool) -> float:
    run()  # the first pass also allocates and chooses algorithms
    taken = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        run()
        if on_gpu:
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _input_gradient(victim: Victim, images: Tensor) -> Tensor | None:
    """Compute the gradient of the best scores; None where none reaches the images."""
    wanted = images.clone().requires_grad_()
    with torch.enable_grad():
        best = victim.scores(wanted).amax(dim=1).sum()
        return torch.autograd.grad(best, wanted, allow_unused=True)[0] if best.requires_grad else None


def _gradient(victim: Victim, images: Tensor) -> Iterator[Finding]:
    if not victim.differentiable:
        # A network in torch should have one: somebody's code cuts it.
        cut = not is_elsewhere(victim.module)
        words = f"none: {victim.remark or 'predictions only'}; train by --technique evolution"
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
def _steadiness(victim: Victim, images: Tensor) -> Iterator[Finding]:
    """Check that an image has the same answer again, and alone."""
    first, again = (victim.confidences(victim.scores(images)) for _ in range(2))
    alone = torch.cat([victim.confidences(victim.scores(image[None])) for image in images])
    for what, other, cure in (
        ("determinism", again, "something in it is random, such as dropout"),
        ("batch invariance", alone, "an answer depends on its neighbours, as in batch norm that still learns"),
    ):
        apart = float((first - other).abs().max())
        finite = bool(first.isfinite().all())
        outcome: Outcome = "fails"
        if not finite:
            words = "its scores are not finite"
        elif apart > _ALIKE:
            words = f"confidences differ by up to {apart:.2g}: {cure}"
        else:
            words, outcome = "the same bit for bit" if apart == 0 else f"the same up to {apart:.1g}", "works"
        yield Finding(what, words, outcome, {"difference": apart})


def _heat(victim: Victim, images: Tensor) -> Iterator[Finding]:
    """Name the layer for heat, and measure by deletion how faithful it is and whether others are more so."""
    if not victim.explains:
        yield Finding("heat", _why_no_heat(victim), "note")
        return
    names = {layer: name for name, layer in victim.module.named_modules()}
    own = names.get(victim.cam_layer, "") if victim.cam_layer is not None else ""
    if isinstance(victim, Detector):
        words = f"layer {own}; how faithful it is, is not tested for detectors; --cam-layer NAME takes another"
        yield Finding("heat", words, "note", {"layer": own})
        return
    layers = list_cam_layers(victim.module, victim.preprocessing.size)
    tried = list(dict.fromkeys([own, *list(layers)[-_HEAT_LAYERS:]]))
    gaps = {
        name: _faithfulness(replace(victim, cam_layer=layers[name].layer, cam_reshape=layers[name].reshape), images)
        for name in tried
        if name in layers
    }
    if own not in gaps:
        yield Finding("heat", f"layer {own}", "note")
        return
    described = {name: mean_interval(values) for name, values in gaps.items()}
    rows = {name: sum(values) / len(values) for name, values in gaps.items()}
    best = max(rows, key=lambda name: rows[name])
    estimate = described[own]
    faithful = estimate is not None and estimate[1][0] > 0
    words = f"layer {own}; removing what it marks costs {100 * rows[own]:+.1f} points of confidence more than at random"
    if best != own:
        words += f"; most by layer {best}, {100 * rows[best]:+.1f} (--cam-layer {best})"
    if not faithful:
        words += "; not told from chance on these photographs"
    yield Finding("heat", words, "works" if faithful else "note", {"layer": own, "deletion_gap": rows})


def _why_no_heat(victim: Victim) -> str:
    """Say what is missing for heat, and how to get it."""
    if not victim.differentiable:
        return "none: heat needs gradients, and this model gives predictions only"
    if any(isinstance(part, torch.jit.ScriptModule) for part in victim.module.modules()):
        return "none: the layers of TorchScript cannot be seen; export it as .pt2 or .onnx"
    layers = list(list_cam_layers(victim.module, victim.preprocessing.size))
    if not layers:
        return "none: no layer of this network has a spatial map"
    return f"none: no layer serves boxes of every size; name one by --cam-layer, such as {', '.join(layers[-_HEAT_LAYERS:])}"


def _faithfulness(victim: Victim, images: Tensor) -> list[float]:
    """Compute by how much the deletion curve lies below that of a random order, for each image."""
    with torch.no_grad():
        classes = victim.scores(images).argmax(dim=1)
    with grad_cam(victim) as cam:
        heat = cam(images, classes.tolist())
    baseline = random_heat(heat.shape, torch.Generator().manual_seed(0))
    by_heat, at_random = (deletion_auc(victim, images, h, classes) for h in (heat, baseline))
    return (at_random - by_heat).tolist()
