"""Millimetres to PDF."""

from printouts.sheets import print_on_sign, print_sheets, print_sign, print_targets

__all__ = ["print_on_sign", "print_sheets", "print_sign", "print_targets"]
