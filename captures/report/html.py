"""Write a report as one self-contained HTML file."""

import base64
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from calibration.common.files import write_text
from captures.report.blocks import PLOT_DPI, Block, Document


def write_html(document: Document, path: Path) -> None:
    """Write the document as HTML, atomically."""
    write_page(
        path,
        "report/report.html.jinja",
        document=document,
        kind=_kind,
        anchor=_anchor,
        base64=_base64,
        plot_dpi=PLOT_DPI,
    )


def write_page(path: Path, template: str, **values: Any) -> None:
    """Write a page of a template in this package's parent, atomically; all text in ``values`` is escaped."""
    environment = Environment(
        loader=PackageLoader("captures", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    write_text(path, environment.get_template(template).render(**values))


def _kind(block: Block) -> str:
    return type(block).__name__


def _anchor(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
