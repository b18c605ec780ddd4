"""The findings of ``physpatch models --check``, as its ``--json`` writes them; the module imports no torch."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from calibration.common.records import Record

Outcome = Literal["works", "note", "fails"]


@dataclass(frozen=True)
class Finding:
    """One line of a check.

    Attributes:
        what: was checked.
        words: what was found, for people.
        outcome: ``works``; ``note`` for what a user must know, and for what was not tested; ``fails`` where the model cannot be
            trusted.
        numbers: what was measured, by name; what each check has is listed in the documentation.
    """

    what: str
    words: str
    outcome: Outcome = "works"
    numbers: dict[str, Any] = field(default_factory=dict)


class CheckRecord(Record):
    """A check of a model.

    Attributes:
        model: its name in tables and records.
        trusted: whether no finding ``fails``.
        findings: in the order of the table.
    """

    what: ClassVar[str] = "check of a model"
    cure: ClassVar[str] = "write it anew: physpatch models --check NAME --json FILE"
    current: ClassVar[int] = 1

    model: str
    trusted: bool
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, model: str, findings: list[Finding]) -> "CheckRecord":
        """Create the record of what was found about a model."""
        trusted = all(finding.outcome != "fails" for finding in findings)
        return cls(version=cls.current, model=model, trusted=trusted, findings=tuple(findings))
