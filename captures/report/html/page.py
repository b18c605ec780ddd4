"""Write a report as one self-contained HTML file.

What a session holds is a stranger's: all of it is escaped as text or as an attribute's value, the page's own script is the
only one that its content security policy lets run, and that policy lets it load nothing.
"""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from calibration.common.files import write_text
from captures.report.blocks import PLOT_DPI, Block, Document
from captures.report.figures.geometry import draw, values_table
from captures.report.wording import CODE_SPAN, short_interval


def write_html(document: Document, path: Path) -> None:
    """Write the document as HTML, atomically."""
    write_page(
        path,
        "report/html/report.html.jinja",
        script="report/html/report.js",
        document=document,
        kind=_kind,
        anchor=_anchor,
        base64=_base64,
        plot_dpi=PLOT_DPI,
        draw=draw,
        values_table=values_table,
        short_interval=short_interval,
        look=_look,
    )


def write_page(path: Path, template: str, *, script: str, **values: Any) -> None:
    """Write a page of a template in the package ``captures``, atomically; all text in ``values`` is escaped.

    Args:
        path: of the page.
        template, script: files in the package. The template receives ``script``, and ``policy`` for its head.
        values: what else the template receives.
    """
    environment = Environment(
        loader=PackageLoader("captures", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["code_spans"] = _code_spans
    code = (Path(__file__).parents[2] / script).read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{_fingerprint(code)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = environment.get_template(template).render(script=Markup(code), policy=policy, **values)
    write_text(path, page)


def _fingerprint(code: str) -> str:
    return f"sha256-{_base64(hashlib.sha256(code.encode()).digest())}"


def _code_spans(text: str) -> Markup:
    """Escape a text, and mark up what stands between backticks, such as commands."""
    parts = CODE_SPAN.split(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def _kind(block: Block) -> str:
    return type(block).__name__


def _look(name: str) -> str:
    """Return the class of a series: a kind of sheet, or n and a number."""
    return f"n{name}" if name.isdecimal() else name


def _anchor(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
