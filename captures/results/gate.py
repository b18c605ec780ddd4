"""Bounds on a patch's effect, for builds: a model passes where the upper end of the interval stays below the bound."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

from calibration.common.errors import InputError
from calibration.common.files import atomic_path
from calibration.common.text import cleaned
from captures.results.result_record import ModelResult, ResultRecord
from physpatch.stats.rates import Difference, Rate

Bound = Literal["target_first", "made_wrong", "accuracy_drop"]
BOUNDS: dict[Bound, str] = {
    "target_first": "the target came first",
    "made_wrong": "the answer was made wrong",
    "accuracy_drop": "accuracy was lost",
}


@dataclass(frozen=True)
class GateCase:
    """One bound on one model.

    Attributes:
        model, bound: which.
        most: the bound, as a share.
        upper: upper end of the 95 % interval; None where nothing bounds the effect.
        words: the estimate with its interval.
    """

    model: str
    bound: Bound
    most: float
    upper: float | None
    words: str

    @property
    def passed(self) -> bool:
        """Tell whether the effect is shown to be at most the bound."""
        return self.upper is not None and self.upper <= self.most

    def to_dict(self) -> dict[str, Any]:
        """Return the bound, the measured upper end and the outcome, for JSON; shares in [0, 1]."""
        return {
            "model": self.model,
            "bound": self.bound,
            "at_most": self.most,
            "upper": self.upper,
            "passed": self.passed,
        }

    @property
    def sentence(self) -> str:
        """Say what was found, and what was allowed."""
        reached = "nothing bounds it from above" if self.upper is None else f"at most {100 * self.upper:.1f} %"
        return f"{BOUNDS[self.bound]}: {self.words}; {reached}, allowed {100 * self.most:g} %"


def judge_result(result: ResultRecord, bounds: Mapping[Bound, float]) -> list[GateCase]:
    """Hold each model of a result against each bound.

    Raises:
        InputError: no bounds, a bound that is no share, or a result without models.
    """
    if not bounds:
        raise InputError("a gate needs a bound; give --max-target-first, --max-made-wrong or --max-accuracy-drop")
    for name, most in bounds.items():
        if not 0 <= most <= 1:
            raise InputError(f"the bound {name.replace('_', '-')} {most:g} is no share; expected 0 to 1")
    if not result.models:
        raise InputError(f"{result.name} has no results; measure it first (an imported patch with `evaluate --save`)")
    return [_case(model, name, most) for model in result.models for name, most in bounds.items()]


def _case(model: ModelResult, name: Bound, most: float) -> GateCase:
    value: Rate | Difference = getattr(model, name)
    return GateCase(model.model, name, most, value.ci95[1] if value.ci95 is not None else None, str(value))


def write_junit(path: Path, result: ResultRecord, cases: list[GateCase]) -> None:
    """Write the cases as JUnit XML: a suite of the run or session, a class by model, a test by bound."""
    failures = sum(not case.passed for case in cases)
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": "0", "skipped": "0"}
    suites = ElementTree.Element("testsuites", counts)
    name = cleaned(f"physpatch {result.kind} {result.name}")  # XML 1.0 has no control characters, not even escaped ones
    suite = ElementTree.SubElement(suites, "testsuite", {"name": name, **counts})
    for case in cases:
        names = {"classname": cleaned(f"physpatch.{case.model}"), "name": case.bound, "time": "0"}
        test = ElementTree.SubElement(suite, "testcase", names)
        if case.passed:
            ElementTree.SubElement(test, "system-out").text = case.sentence
        else:
            ElementTree.SubElement(test, "failure", {"message": case.sentence, "type": "bound"}).text = case.sentence
    ElementTree.indent(suites)
    with atomic_path(path) as temporary:
        ElementTree.ElementTree(suites).write(temporary, encoding="utf-8", xml_declaration=True)
