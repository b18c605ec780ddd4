"""The sections of a session's report.

A section is a ``ReportSection`` in a module of this package or behind an entry point of the group
``captures.report_sections``.
"""

from calibration.common.registry import Registry
from captures.report.sections.base import Material, ReportSection

SECTIONS = Registry("section of the report", ReportSection, __name__, "captures.report_sections")

__all__ = ["SECTIONS", "Material", "ReportSection"]
