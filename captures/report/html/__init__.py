"""Reports as self-contained HTML files."""

from captures.report.html.page import write_html, write_page

__all__ = ["write_html", "write_page"]
