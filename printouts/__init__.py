"""Millimetres to PDF."""

from printouts.sheets import print_sheets, print_targets

__all__ = ["print_sheets", "print_targets"]
