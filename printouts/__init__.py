"""Millimetres to PDF."""

from printouts.sheets import print_sheets

__all__ = ["print_sheets"]
