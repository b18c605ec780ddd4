"""Shapes beside the sheet itself: what holds and what covers it, and what the camera sees of a bent one."""
