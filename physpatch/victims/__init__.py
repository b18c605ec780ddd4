"""The networks that a patch is trained against and measured on.

A family of victims is one module of ``families`` with a ``VictimFamily``.
"""
