"""The chapters of a session's report.

A section is one module here with a ``ReportSection``, or a class behind an entry point ``captures.report_sections``.
"""

from calibration.common.registry import Registry
from captures.report.sections.base import Material, ReportSection

SECTIONS = Registry("section of the report", ReportSection, __name__, "captures.report_sections")

__all__ = ["SECTIONS", "Material", "ReportSection"]
