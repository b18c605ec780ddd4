"""Extensions: classes of one kind, collected from a package of physpatch and from entry points of other packages.

A class declares its ``name`` and a one-line ``summary``. Built-in classes are in the kind's package. Other distributions
name theirs in an entry point of the kind's group:

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
    """The attributes that a registry requires of a class."""

    name: ClassVar[str]
    summary: ClassVar[str]


Kind = TypeVar("Kind", bound=Named)


class Registry(Mapping[str, type[Kind]]):
    """The classes of one kind by name: built-in ones in the order of their modules, then those of other packages.

    Classes are searched for on first use, so a package may define its own registry.
    """

    def __init__(self, kind: str, base: type[Kind], package: str, group: str) -> None:
        """Set up the registry; searching is deferred to first use.

        Args:
            kind: in words, for error messages: ``technique``.
            base: the base class of the kind.
            package: dotted name of the package that holds the built-in classes.
            group: the entry point group of other distributions.
        """
        self.kind, self.base, self.package, self.group = kind, base, package, group
        self.broken: dict[str, str] = {}  # entry points that cannot be used, with the reason

    def __getitem__(self, name: str) -> type[Kind]:
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)

    def find(self, name: str) -> type[Kind]:
        """Return the class called ``name``.

        Raises:
            InputError: if there is none, or its package cannot be loaded; the message says why.
        """
        if name in self._classes:
            return self._classes[name]
        if name in self.broken:
            raise InputError(f"the {self.kind} {name!r} cannot be used: {self.broken[name]}")
        raise unknown_name(self.kind, name, self._classes)

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
                extension = self._loaded(point)
            except InputError as error:
                self.broken[point.name] = str(error)
                continue
            if extension.name in classes:
                self.broken[point.name] = f"{point.value} has the name of another {self.kind}"
            else:
                classes[extension.name] = extension
        return classes

    def _loaded(self, point: EntryPoint) -> type[Kind]:
        """Load the class of an entry point.

        Raises:
            InputError: if it does not load or is not of this kind.
        """
        try:
            value = point.load()
        except Exception as error:  # one broken package must not affect the others
            raise InputError(f"{point.value} does not load ({type(error).__name__}: {error})") from error
        if not self._is_one(value):
            raise InputError(
                f"{point.value} is not a valid {self.kind}: expected a class derived from "
                f"{self.base.__module__}.{self.base.__qualname__} with a name and a summary"
            )
        extension: type[Kind] = value
        return extension

    def _is_one(self, value: object) -> bool:
        return (
            inspect.isclass(value)
            and issubclass(value, self.base)
            and not inspect.isabstract(value)
            and isinstance(vars(value).get("name"), str)
            and isinstance(getattr(value, "summary", None), str)
        )


def declared_names(package: str, group: str) -> tuple[str, ...]:
    """List the names of a registry's classes without importing them, which keeps shell completion fast.

    Names of built-in classes are read from the source, ``name: ClassVar[str] = "…"``; other names are those of the entry
    points.
    """
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    files = sorted(file for folder in folders for file in Path(folder).rglob("*.py"))
    names = [name for file in files for name in _names_in(file)]
    return tuple(dict.fromkeys([*names, *(point.name for point in entry_points(group=group))]))


def _names_in(file: Path) -> Iterator[str]:
    """Yield the values given to ``name`` in the bodies of a module's classes."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        for statement in node.body if isinstance(node, ast.ClassDef) else ():
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and statement.target.id == "name"
                and isinstance(statement.value, ast.Constant)
            ):
                yield str(statement.value.value)
