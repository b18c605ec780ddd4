"""Geometry and colour: the layout of printed sheets, the camera, and the print-and-camera colour map.

The lowest package: it depends on libraries for numbers, pictures, PDF files and the command line, not on torch. All other
packages import from it.
"""
