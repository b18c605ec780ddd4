"""The networks that a patch is trained against and measured on.

A family of victims is one module with a ``FAMILY`` object, registered by one line in ``registry.py``.
"""
