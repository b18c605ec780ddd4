"""The one mechanism for extensions: classes of a kind, found in a package and behind entry points of installed ones.

A class that is to be found says its ``name`` and a one-line ``summary``. One of ours lies in the kind's package; one of
somebody else's is named by an entry point of the kind's group, in the metadata of the distribution that it comes in:

    [project.entry-points."physpatch.techniques"]
    mine = "my_package.my_module:MyTechnique"
"""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

from calibration.common.errors import InputError, unknown_name


class Named(Protocol):
    """What a registry asks of a class."""

    name: ClassVar[str]
    summary: ClassVar[str]


Kind = TypeVar("Kind", bound=Named)


class Registry(Mapping[str, type[Kind]]):
    """Hold the classes of one kind by name: ours in the order of their modules, then those of other packages.

    They are looked for when the registry is first asked, so that a package may define its own.
    """

    def __init__(self, what: str, base: type[Kind], package: str, group: str) -> None:
        """Prepare to look.

        Args:
            what: the kind in words, for errors: ``technique``.
            base: the class that all of them derive from.
            package: dotted name of the package whose modules hold ours.
            group: of the entry points of other distributions.
        """
        self.what, self.base, self.package, self.group = what, base, package, group
        self.broken: dict[str, str] = {}  # entry points that could not be used, each with the reason

    def __getitem__(self, name: str) -> type[Kind]:
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)

    def find(self, name: str) -> type[Kind]:
        """Find a class by the name that a person gave.

        Raises:
            InputError: there is none of that name, or its package cannot be used; the message says why.
        """
        if name in self._classes:
            return self._classes[name]
        if name in self.broken:
            raise InputError(f"the {self.what} {name!r} cannot be used: {self.broken[name]}")
        raise unknown_name(self.what, name, self._classes)

    @cached_property
    def _classes(self) -> dict[str, type[Kind]]:
        classes: dict[str, type[Kind]] = {}
        for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
            path = f"{self.package}.{module.name}"
            for value in vars(importlib.import_module(path)).values():
                if self._is_one(value) and value.__module__.startswith(path):
                    classes[value.name] = value
        for point in entry_points(group=self.group):
            try:
                found = self._loaded(point)
            except InputError as error:
                self.broken[point.name] = str(error)
                continue
            if found.name in classes:
                self.broken[point.name] = f"{point.value} has the name of another {self.what}"
            else:
                classes[found.name] = found
        return classes

    def _loaded(self, point: EntryPoint) -> type[Kind]:
        """Load somebody else's class.

        Raises:
            InputError: it does not load, or is not of this kind.
        """
        try:
            value = point.load()
        except Exception as error:  # whatever a stranger's module does, the others go on
            raise InputError(f"{point.value} does not load ({type(error).__name__}: {error})") from error
        if not self._is_one(value):
            raise InputError(
                f"{point.value} is no {self.what}: expected a class derived from "
                f"{self.base.__module__}.{self.base.__qualname__} with a name and a summary"
            )
        found: type[Kind] = value
        return found

    def _is_one(self, value: object) -> bool:
        return (
            inspect.isclass(value)
            and issubclass(value, self.base)
            and not inspect.isabstract(value)
            and isinstance(vars(value).get("name"), str)
            and isinstance(getattr(value, "summary", None), str)
        )


def declared_names(package: str, group: str) -> tuple[str, ...]:
    """List the names of a registry's classes without importing any, for what must be quick: completion in a shell.

    Ours are read from the source, ``name: ClassVar[str] = "…"``; of other distributions the entry points' names are taken.
    """
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    files = sorted(file for folder in folders for file in Path(folder).rglob("*.py"))
    names = [name for file in files for name in _names_in(file)]
    return tuple(dict.fromkeys([*names, *(point.name for point in entry_points(group=group))]))


def _names_in(file: Path) -> Iterator[str]:
    """The values given to ``name`` in the bodies of a module's classes."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        for statement in node.body if isinstance(node, ast.ClassDef) else ():
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and statement.target.id == "name"
                and isinstance(statement.value, ast.Constant)
            ):
                yield str(statement.value.value)
