"""Folders of pictures: one sub-folder per class, or none."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from calibration.common.console import say
from calibration.common.pictures import is_picture
from physpatch.data.formats.base import DataFormat, Item, Label
from physpatch.data.formats.videos import videos_in


class Folders(DataFormat):
    """A folder whose sub-folders are classes, as torchvision's ImageFolder reads it, or a folder of pictures."""

    name: ClassVar[str] = "folders"
    summary: ClassVar[str] = "one sub-folder for each class, or pictures without classes"
    has_columns, in_order, fallback = False, True, True

    @classmethod
    def recognises(cls, source: Path) -> bool:
        """Accept any folder."""
        return source.is_dir()

    def items(self) -> list[Item]:
        """List the pictures of each sub-folder, which is their class, and those beside them, without one."""
        items = [Item(path) for path in _pictures(self.source.iterdir())]
        for folder in class_folders(self.source):
            items += [Item(path, folder.name) for path in _pictures(folder.rglob("*"))]
        videos = videos_in(self.source)
        if items and videos:
            say(
                f"{self.source}: its {len(videos)} videos are left out; to use them, move them to a folder of their own"
            )
        return sorted(items, key=lambda item: item.path)

    def classes(self) -> tuple[Label, ...]:
        """List the sub-folders."""
        return tuple(folder.name for folder in class_folders(self.source))


def class_folders(folder: Path) -> list[Path]:
    """List the sub-folders that may be classes: not hidden, and no links to a folder that holds them."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".") and not _leads_back(p))


def _leads_back(folder: Path) -> bool:
    """Tell whether a folder is a link to one that holds it."""
    return folder.is_symlink() and folder.resolve() in (folder.absolute().parent.resolve() / folder.name).parents


def _pictures(paths: Iterable[Path]) -> list[Path]:
    return sorted(filter(is_picture, paths))
