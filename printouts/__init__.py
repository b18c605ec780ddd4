"""Millimetres to PDF."""

from printouts.sheet_pdf import print_on_sign, print_sheets, print_sign, print_targets

__all__ = ["print_on_sign", "print_sheets", "print_sign", "print_targets"]
