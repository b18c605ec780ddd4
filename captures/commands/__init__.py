"""The commands that film: calibrating, sessions, their reports, and the demo."""
