"""A classifier's accuracy on labelled photographs, and whether another preprocessing would do better."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from physpatch.data.photographs import Photo, Photographs, limited, load_photos, numbered_origins
from physpatch.evaluation.classification import change_over, rate_over
from physpatch.records.check_record import Finding
from physpatch.stats.rates import Difference, Rate
from physpatch.victims.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from physpatch.victims.protocol import Victim

_BATCH = 16
_BUDGET_S = 10.0  # for each of the two: accuracy, and all other preprocessings together
_FEWEST, _FEWEST_FIRST = 24, 12  # photographs of the slowest model, for each of the two
_WORTH_SAYING = 0.03  # gain of accuracy by another preprocessing, several of which are tried
_USUAL_CROP = 0.875  # of the resized side, for most networks trained on ImageNet
_NORMALISATIONS = {
    "ImageNet's mean and standard deviation": (IMAGENET_MEAN, IMAGENET_STD),
    "mean 0.5 and standard deviation 0.5": ((0.5,) * 3, (0.5,) * 3),
    "pixels from 0 to 1": ((0.0,) * 3, (1.0,) * 3),
    "pixels from 0 to 255": ((0.0,) * 3, (1 / 255,) * 3),
}


def check_accuracy(victim: Victim, photos: Sequence[Photo], seconds: float, seed: int) -> Iterator[Finding]:
    """Measure clean accuracy, and whether the usual other preprocessings would do better.

    Args:
        victim: a classifier.
        photos: with labels.
        seconds: that a photograph takes.
        seed: of the choice among the photographs for a slow model.
    """
    measured = limited(photos, affordable(_BUDGET_S, seconds, _FEWEST, len(photos)), seed)
    trial = _Trial(victim, measured)
    answers, is_counted = trial.answers(victim.preprocessing)
    part = f", of {len(photos)}, because the model is slow" if len(measured) < len(photos) else ""
    yield _clean_accuracy(victim, trial.rate(answers & is_counted), trial.rate(answers), part)
    yield _other_preprocessings(trial, answers, seconds, seed)


def likely_mistakes(victim: Victim) -> Iterator[tuple[str, Preprocessing]]:
    """Yield the usual other preprocessings, with their names: one of them may be the right one.

    A product elsewhere gets pictures and normalises them itself, so only their colours and crop may be wrong.
    """
    preprocessing = victim.preprocessing
    own_order, other_order = ("BGR", "RGB") if preprocessing.bgr else ("RGB", "BGR")
    yield f"{other_order} in place of {own_order}", replace(preprocessing, bgr=not preprocessing.bgr)
    for words, (mean, std) in _NORMALISATIONS.items() if victim.queries is None else ():
        if (mean, std) != (preprocessing.mean, preprocessing.std):
            yield words, replace(preprocessing, mean=mean, std=std)
    whole, cropped = preprocessing.size, round(preprocessing.size / _USUAL_CROP)
    if preprocessing.resize != whole:
        yield f"no crop (resize = {whole})", replace(preprocessing, resize=whole)
    if preprocessing.resize < cropped:
        yield f"a central crop (resize = {cropped})", replace(preprocessing, resize=cropped)


def affordable(budget_s: float, seconds: float, least: int, most: int) -> int:
    """Return how many of ``most`` things can be done in a time, each in so many seconds, but not fewer than ``least``."""
    return max(min(int(budget_s / max(seconds, 1e-9)), most), min(least, most))


class _Trial:
    """A classifier's answers to the same photographs in several preprocessings."""

    def __init__(self, victim: Victim, photos: Sequence[Photo]) -> None:
        self.victim, self.photos = victim, photos
        self.units = numbered_origins(photos)
        self._loaded: tuple[Preprocessing, Photographs] | None = None

    @torch.no_grad()
    def answers(self, preprocessing: Preprocessing, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tell which photographs, or which of ``rows``, have the right top class (N,), and whether that class counts (N,)."""
        victim, loaded = replace(self.victim, preprocessing=preprocessing), self._load(preprocessing)
        right: list[Tensor] = []
        counts: list[Tensor] = []
        for part in (torch.arange(len(self.photos)) if rows is None else rows).split(_BATCH):
            scores = victim.scores(loaded.images[part].to(victim.device).float() / 255)
            right.append(scores.argmax(dim=1).cpu() == loaded.labels[part])
            counts.append((victim.judged(scores).argmax(dim=1) < scores.shape[1]).cpu())
        return torch.cat(right), torch.cat(counts)

    def rate(self, right: Tensor) -> Rate:
        return rate_over(right, torch.ones_like(right), self.units)

    def gain(self, before: Tensor, after: Tensor, rows: Tensor | None = None) -> Difference:
        units = self.units if rows is None else self.units[rows]
        return change_over(before, after, torch.ones_like(before), units)

    def _load(self, preprocessing: Preprocessing) -> Photographs:
        """Load the photographs, unless they are loaded for a preprocessing with another normalisation or order of colours."""
        plain = replace(preprocessing, mean=(0.0,) * 3, std=(1.0,) * 3, bgr=False)
        if self._loaded is None or self._loaded[0] != plain:
            self._loaded = (plain, load_photos(self.photos, plain))
        return self._loaded[1]


def _clean_accuracy(victim: Victim, rate: Rate, without_threshold: Rate, part: str) -> Finding:
    words = f"{rate}{part}"
    if victim.threshold and without_threshold.rate is not None:
        words += f"; {100 * without_threshold.rate:.1f} % without the threshold"
    lucky = rate.ci95 is not None and rate.ci95[0] <= 1 / len(victim.categories)
    if lucky:
        suspects = "labels, preprocessing and threshold" if victim.threshold else "labels and preprocessing"
        words += f", which may be chance: check {suspects}"
    numbers = {"clean_accuracy": rate.to_dict(), "without_threshold": without_threshold.to_dict()}
    return Finding("clean accuracy", words, "fails" if lucky else "works", numbers)


def _other_preprocessings(trial: _Trial, before: Tensor, seconds: float, seed: int) -> Finding:
    """Try each on a part of the photographs, as large as there is time for, and those that do better there on all."""
    mistakes, total = list(likely_mistakes(trial.victim)), len(trial.photos)
    first = affordable(_BUDGET_S, seconds * len(mistakes), _FEWEST_FIRST, total)
    rows = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:first].sort().values
    better = []
    for mistake, preprocessing in mistakes:
        changed = trial.answers(preprocessing, rows)[0]
        if first < total and int(changed.sum()) <= int(before[rows].sum()):
            continue
        gain = trial.gain(before, changed if first == total else trial.answers(preprocessing)[0])
        if gain.is_significant and gain.difference is not None and gain.difference >= _WORTH_SAYING:
            better.append((gain.difference, f"{mistake} gives {str(gain).replace('points', 'points more')}", mistake))
    numbers = {"tried": [mistake for mistake, _ in mistakes], "tried_on": first}
    if better:
        _, words, mistake = max(better)
        return Finding("preprocessing", f"likely wrong: {words}", "fails", {"likely": mistake} | numbers)
    few = f", on {first} photographs" if first < total else ""
    aspects = "colour order, mean and deviation, crop" if trial.victim.queries is None else "colour order, crop"
    return Finding("preprocessing", f"no usual alternative does better ({aspects}{few})", numbers=numbers)
