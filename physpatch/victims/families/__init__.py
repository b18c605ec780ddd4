"""The families of victims: one per module here, or behind an entry point ``physpatch.victims``."""

from collections.abc import Iterator
from pathlib import Path

from calibration.common.errors import InputError, unknown_name
from calibration.common.registry import Registry
from physpatch.victims.protocol import CatalogueEntry, VictimFamily

FAMILIES = Registry("family of victims", VictimFamily, __name__, "physpatch.victims")
_WEIGHTS = (".pth", ".safetensors", ".bin", ".ckpt")  # files of weights without a network


def family_of(name: str) -> VictimFamily:
    """Find the family that loads a name, file or address.

    Raises:
        InputError: none does; the message suggests similar names, or says what the file lacks.
    """
    family = next((family for family in _families() if family.knows(name)), None)
    if family is not None:
        return family
    if name.lower().endswith(_WEIGHTS):
        raise InputError(
            f"{name} would hold weights alone; name the architecture that they are of, and --weights {name}"
        )
    if Path(name).is_file():
        raise InputError(f"{name} is no file of a model; `physpatch models` lists the kinds that are")
    raise unknown_name("model", name, all_names())


def catalogue() -> list[CatalogueEntry]:
    """List the rows of ``physpatch models``."""
    return [entry for family in _families() for entry in family.catalogue()]


def all_names() -> list[str]:
    """List every name that can be given, for suggestions."""
    from torchvision import models

    return [entry.name for entry in catalogue()] + models.list_models(module=models)


def _families() -> Iterator[VictimFamily]:
    return (family() for family in FAMILIES.values())
