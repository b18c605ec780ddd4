"""How the cells are moved. A technique is one module and one line in ``TECHNIQUES``."""

from physpatch.techniques.adam import Adam
from physpatch.techniques.base import Technique
from physpatch.techniques.static import Static

TECHNIQUES: dict[str, type[Technique]] = {"static": Static, "adam": Adam}

__all__ = ["TECHNIQUES", "Technique"]
