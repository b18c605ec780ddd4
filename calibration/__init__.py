"""Plain geometry and colour: what lies where on a sheet, and what a camera makes of it.

This is the lowest room: numpy, OpenCV and a PDF reader, no torch. Everything above imports from here.
"""
