"""Write a report as one self-contained HTML file."""

import base64
import re
from pathlib import Path

from jinja2 import Environment, PackageLoader

from calibration.common.files import write_text
from captures.report.blocks import PLOT_DPI, Block, Document


def write_html(document: Document, path: Path) -> None:
    """Write the document as HTML, atomically."""
    environment = Environment(
        loader=PackageLoader("captures", "report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"kind": _kind, "anchor": _anchor, "base64": _base64, "plot_dpi": PLOT_DPI}
    write_text(path, environment.get_template("report.html.jinja").render(document=document))


def _kind(block: Block) -> str:
    return type(block).__name__


def _anchor(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
