"""The commands that use the camera: calibration, sessions, reports and the demo."""
