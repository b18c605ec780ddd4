"""How the cells are moved. A technique is one module and one line in ``TECHNIQUES``."""

from physpatch.techniques.adam import Adam
from physpatch.techniques.base import GradientFree, Technique
from physpatch.techniques.black_box import BlackBox
from physpatch.techniques.coarse_to_fine import CoarseToFine
from physpatch.techniques.curriculum import Curriculum
from physpatch.techniques.ensemble import Ensemble
from physpatch.techniques.pgd import Pgd
from physpatch.techniques.static import Static

TECHNIQUES: dict[str, type[Technique]] = {
    "static": Static,
    "adam": Adam,
    "pgd": Pgd,
    "curriculum": Curriculum,
    "coarse-to-fine": CoarseToFine,
    "ensemble": Ensemble,
    "black-box": BlackBox,
}

__all__ = ["TECHNIQUES", "GradientFree", "Technique"]
