"""Reports of runs and sessions in a single HTML or PDF file, and comparisons of several."""

from captures.report.write import ReplayOptions, write_comparison, write_report

__all__ = ["ReplayOptions", "write_comparison", "write_report"]
