"""Classes of a data set as classes of a model: by name, WordNet id, spelling or synonym, with a report of each."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import yaml

from calibration.common.errors import UnavailableError
from physpatch.data.formats import Label
from physpatch.data.named_sets import package_folder
from physpatch.victims.labels import imagenet_categories
from physpatch.victims.protocol import normal_name

_WNID = re.compile(r"n\d{8}")
_SAME_ORDER = 0.9  # share of a thousand classes that must have ImageNet's names for its WordNet ids to be theirs
_MOST_LISTED = 20
_LABEL_WIDTH, _CLASS_WIDTH = 22, 24
_Index = TypeVar("_Index")


@dataclass(frozen=True)
class Match:
    """A class of the model, and how it was found."""

    index: int
    how: str


@dataclass(frozen=True)
class Matches:
    """What became of a data set's classes.

    Attributes:
        found: the classes that are the model's.
        reasons: why the others are not.
    """

    found: Mapping[Label, Match]
    reasons: Mapping[Label, str]


def match_classes(labels: Iterable[Label], categories: Sequence[str], declared: Sequence[Label] = ()) -> Matches:
    """Find the classes of a data set among those of a model.

    Each is looked for by index or full name; by WordNet id (those of ImageNet, and of its synonyms in other models); by
    spelling, without case, accents and punctuation, also as one of several names between commas; and by WordNet's
    synonyms, where timm, which has them, is installed. What fits several classes fits none, unless its place decides.

    Args:
        labels: of the data set.
        categories: the model's class names in index order.
        declared: the data set's own list of classes, whose places decide if it has as many as the model.
    """
    book = _ModelClasses(categories)
    times = Counter(declared)
    place = {label: i for i, label in enumerate(declared)} if len(declared) == len(categories) else {}
    matches: dict[Label, Match] = {}
    reasons: dict[Label, str] = {}
    for label in dict.fromkeys(labels):
        fitting, how = book.look_up(label)
        if times[label] > 1:
            reasons[label] = "has another meaning too"
        elif len(fitting) == 1:
            matches[label] = Match(next(iter(fitting)), how)
        elif place.get(label) in fitting:
            matches[label] = Match(place[label], f"{how} and place")
        elif fitting:
            reasons[label] = f"fits {' and '.join(map(str, sorted(fitting)[:3]))}"
        else:
            reasons[label] = "fits none"
    return Matches(matches, reasons)


def report_lines(source: str, matches: Matches, counts: Mapping[Label, int], categories: Sequence[str]) -> list[str]:
    """Say what was matched how, in lines of at most 80 columns; nothing if all is by index or full name.

    Args:
        source: of the data, for the first line.
        matches: of its classes.
        counts: the number of photographs of each class.
        categories: the model's class names.
    """
    indirect_matches = {label: match for label, match in matches.found.items() if match.how not in ("index", "name")}
    rows = [
        (str(label), categories[match.index], match.how)
        for label, match in indirect_matches.items()
        if counts.get(label)
    ]
    fate = "left out" if matches.found else "unlabelled"
    lost = [
        (str(label), "-", f"{reason}; {counts[label]} {fate}")
        for label, reason in matches.reasons.items()
        if counts.get(label)
    ]
    if not rows and not lost:
        return []
    lines = [f"{source}: its classes, as classes of this model"]
    for part in (rows, lost):
        lines += [f"  {_cut(a, _LABEL_WIDTH)} {_cut(b, _CLASS_WIDTH)} {c}" for a, b, c in part[:_MOST_LISTED]]
        if len(part) > _MOST_LISTED:
            lines.append(f"  … and {len(part) - _MOST_LISTED} more")
    plain = sum(bool(counts.get(label)) for label in matches.found) - len(rows)
    if plain:
        lines.append(f"  and {plain} by the model's own names or indices")
    if lost and not _synonyms():
        lines.append("  (pip install 'physpatch[timm]' for WordNet's synonyms)")
    return lines


def _cut(text: str, width: int) -> str:
    return f"{text if len(text) <= width else text[: width - 1] + '…':{width}}"


class _ModelClasses:
    """A model's classes, to look up labels in."""

    def __init__(self, categories: Sequence[str]) -> None:
        self.count = len(categories)
        self.by_name = _indices((normal_name(name), i) for i, name in enumerate(categories))
        self.by_spelling = _indices(pair for i, name in enumerate(categories) for pair in _spelled(name, i))
        self.by_wnid = (
            _indices((wnid, i) for i, wnid in enumerate(imagenet_wnids())) if _is_imagenet(categories) else {}
        )

    def look_up(self, label: Label) -> tuple[Collection[int], str]:
        """Find the indices that fit a label, and how they were found."""
        text = str(label)
        if normal_name(text) in self.by_name and not isinstance(label, int):
            return self.by_name[normal_name(text)], "name"
        if re.fullmatch(r"\d{1,9}", text):
            return ({int(text)} if int(text) < self.count else ()), "index"
        if _WNID.fullmatch(text):
            return self.by_wnid.get(text) or self._fitting(_names_of(text)), "WordNet id"
        spelled = [name for name, _ in _spelled(text, 0)]
        for fitting, how in (
            (self._fitting(spelled[:1]), "spelling"),
            (self._fitting(spelled[1:]), "one of its names"),
            (self._synonymous(spelled), "synonym"),
        ):
            if fitting:
                return fitting, how
        return (), ""

    def _fitting(self, names: Iterable[str]) -> set[int]:
        return {i for name in names for i in self.by_spelling.get(name, ())}

    def _synonymous(self, names: Iterable[str]) -> set[int]:
        """Find the classes that share a meaning with one of the names."""
        meanings = {wnid for name in names for wnid in _meanings().get(name, ())}
        if self.by_wnid:
            return {i for wnid in meanings for i in self.by_wnid.get(wnid, ())}
        return self._fitting(name for wnid in meanings for name in _names_of(wnid))


def _indices(pairs: Iterable[tuple[str, _Index]]) -> dict[str, set[_Index]]:
    """Gather what has the same name."""
    gathered: dict[str, set[_Index]] = {}
    for name, index in pairs:
        gathered.setdefault(name, set()).add(index)
    return gathered


def _spelled(name: str, index: int) -> list[tuple[str, int]]:
    """Spell a name, and each of those between its commas, plainly."""
    parts = (name, *name.split(","))
    return [(plain, index) for plain in dict.fromkeys(map(plain_spelling, parts)) if plain]


def plain_spelling(name: str) -> str:
    """Reduce a name to its letters and digits, in lower case and without accents."""
    import unicodedata

    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in letters if letter.isalnum())


@cache
def imagenet_wnids() -> tuple[str, ...]:
    """Return the WordNet ids of ImageNet's classes in index order, as ultralytics carries them."""
    file = package_folder("ultralytics") / "cfg/datasets/ImageNet.yaml"
    return tuple(yaml.safe_load(file.read_text(encoding="utf-8"))["map"])


def _is_imagenet(categories: Sequence[str]) -> bool:
    """Tell whether a model's classes are ImageNet's, in its order, by whatever names."""
    if tuple(categories) == imagenet_categories():
        return True
    if len(categories) != len(imagenet_wnids()):
        return False
    alike = sum(
        bool({name for name, _ in _spelled(category, 0)} & {plain_spelling(own), *_names_of(wnid)})
        for category, own, wnid in zip(categories, imagenet_categories(), imagenet_wnids(), strict=True)
    )
    return alike >= _SAME_ORDER * len(categories)


@cache
def _synonyms() -> dict[str, tuple[str, ...]]:
    """Read the names of WordNet's synsets by id, as timm carries them; empty without timm."""
    try:
        file: Path = package_folder("timm") / "data/_info/imagenet_synset_to_lemma.txt"
        lines = file.read_text(encoding="utf-8").splitlines()
    except (UnavailableError, OSError):
        return {}
    pairs = (line.partition("\t") for line in lines)
    return {wnid: tuple(plain_spelling(name) for name in names.split(",")) for wnid, _, names in pairs}


def _names_of(wnid: str) -> tuple[str, ...]:
    return _synonyms().get(wnid, ())


@cache
def _meanings() -> dict[str, set[str]]:
    """Gather the ids of the synsets that have a name."""
    return _indices((name, wnid) for wnid, names in _synonyms().items() for name in names)
