"""Docstrings name other objects by Sphinx roles; the site shows them as code, with a link where the page has one."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|data|attr|mod|exc):`~?([\w.]+)`")


class PlainRoles(griffe.Extension):
    """Turn ``:class:`x.Y``` into ```Y```."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one object's docstring before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(lambda match: f"`{match[1]}`", obj.docstring.value)
