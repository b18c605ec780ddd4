"""What was measured, as one file that a reviewer can trust: HTML, PDF, or a comparison of several."""

from captures.report.write import ReplayOptions, write_comparison, write_report

__all__ = ["ReplayOptions", "write_comparison", "write_report"]
