"""Geometry and colour: the layout of printed sheets, the camera, and the print-and-camera colour map.

The lowest package: it depends on numpy, OpenCV and a PDF reader, not on torch. All other packages import from it.
"""
