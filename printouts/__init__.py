"""Print patches, controls, signs and calibration targets to PDF, to scale."""

from importlib import import_module
from typing import Any

_HOMES = {
    "print_on_sign": "printouts.sheet_pdf",
    "print_run": "printouts.run_sheets",
    "print_sheets": "printouts.sheet_pdf",
    "print_sign": "printouts.sheet_pdf",
    "print_targets": "printouts.sheet_pdf",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'printouts' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
