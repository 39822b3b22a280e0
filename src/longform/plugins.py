"""Loads objects of other packages by name: rewards, benchmarks, judges, selection strategies and trackers.

A name is `module.path:Name`, found in the current folder or in an installed package, or the name of an entry point that an
installed package registers in a group such as `longform.rewards`. Loading a plugin runs its code, so commands that only read
a run never do it.
"""

import hashlib
import importlib
import inspect
import re
import sys
import traceback
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from longform.records.errors import BadInputError

PluginGroup = Literal[
    "longform.rewards", "longform.benchmarks", "longform.judges", "longform.selection", "longform.trackers"
]
"""Entry points by which other packages offer plugins."""
ATTRIBUTE = re.compile(r"[\w.]+:[\w.]+")


@dataclass(frozen=True, slots=True)
class Plugin:
    """A loaded plugin, and the source that it came from."""

    kind: str
    """The name that it was loaded by."""
    object: Any
    """A function, a class or an instance."""
    version: str
    """Of the package it is part of; empty for a file outside any package."""
    source_sha256: str
    """Of the files that define the module and the object, in hex."""
    file: str
    """The file that defines the object."""

    @property
    def facts(self) -> dict[str, str]:
        """What the record of a run keeps."""
        return {"name": self.kind, "version": self.version, "source_sha256": self.source_sha256}


def is_attribute(kind: str) -> bool:
    """Whether `kind` has the form `module.path:Name`."""
    return ATTRIBUTE.fullmatch(kind) is not None


def plugin_names(group: PluginGroup) -> list[str]:
    """The names of the entry points of a group, in alphabetical order; no plugin is imported."""
    return sorted({it.name for it in entry_points(group=group)})


def load_plugin(kind: str, group: PluginGroup, *, folder: Path | None = None) -> Plugin:
    """Import a plugin.

    Args:
        kind: `module.path:Name`, or the name of an entry point of `group`.
        group: where entry points are looked up.
        folder: put on the module path for `module.path:Name`; the current folder by default.

    Raises:
        BadInputError: there is no such module, attribute or entry point, or the module raises on import.
    """
    if ":" in kind:
        if not is_attribute(kind):
            raise BadInputError(f"{kind}: a plugin is written module.path:Name")
        path = str((folder or Path.cwd()).absolute())
        if path not in sys.path:
            sys.path.insert(0, path)
            importlib.invalidate_caches()
        module_name, _, attribute = kind.partition(":")
        release = None
    else:
        entry = _entry_point(kind, group)
        module_name, attribute = entry.module, entry.attr
        release = entry.dist.version if entry.dist else None
    module = _import(module_name, kind)
    file: str | None = getattr(module, "__file__", None)  # modules of the interpreter have none
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            near = get_close_matches(name, [it for it in dir(found) if not it.startswith("_")], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise BadInputError(f"{kind}: {shown_path(file)} has no {name!r}{hint}")
        found = getattr(found, name)
    source = _source_file(found) or file or ""
    files = {path for path in (file, source) if path}
    return Plugin(kind, found, _version(module_name) if release is None else release, _hash(files), source)


def describe_error(error: BaseException, *, file: str | None = None) -> str:
    """An exception of a plugin in one line: its type, message, file and line.

    Args:
        error: as it was raised.
        file: the plugin's file, whose innermost line is named; by default the line that raised.
    """
    what = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    if isinstance(error, SyntaxError) and error.filename:
        what = f"{type(error).__name__}: {error.msg}"
        return f"{what} ({shown_path(error.filename)}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    own = [it for it in frames if it.filename == file] or [
        it for it in frames if it.filename != __file__ and "importlib" not in it.filename
    ]
    return f"{what} ({shown_path(own[-1].filename)}:{own[-1].lineno})" if own else what


def shown_path(path: str | None) -> str:
    """A path relative to the current folder if it is inside it, else as it is."""
    if path is None:
        return "the module"
    place = Path(path)
    return str(place.relative_to(Path.cwd())) if place.is_relative_to(Path.cwd()) else path


def describe_unknown(kind: str, known: list[str], *, what: str) -> str:
    """An error about an unknown name: all known names, and the nearest."""
    near = get_close_matches(kind, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {kind!r}; available: {', '.join([*known, 'or module.path:Name'])}{hint}"


def _entry_point(kind: str, group: PluginGroup) -> EntryPoint:
    found = {it.value: it for it in entry_points(group=group, name=kind)}
    if not found:
        raise BadInputError(describe_unknown(kind, plugin_names(group), what=f"plugin of {group}"))
    if len(found) > 1:
        raise BadInputError(f"{kind}: several packages offer it in {group}; choose one of {', '.join(sorted(found))}")
    return next(iter(found.values()))


def _import(name: str, kind: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise BadInputError(
                f"{kind}: there is no module {error.name!r} in the current folder or the installed packages"
            ) from None
        raise BadInputError(f"{kind}: cannot be imported: {describe_error(error)}") from error
    except (Exception, SystemExit) as error:
        raise BadInputError(f"{kind}: cannot be imported: {describe_error(error)}") from error


def _source_file(found: Any) -> str | None:
    """The file that defines a function, a class, or the class of an instance."""
    target = found if inspect.isroutine(found) or inspect.isclass(found) else type(found)
    try:
        return inspect.getsourcefile(inspect.unwrap(target))
    except TypeError:
        return None


def _hash(files: set[str]) -> str:
    """SHA-256 of the contents of files, in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()


@cache
def _version(module_name: str) -> str:
    """The version of the distribution that a module belongs to; empty if it belongs to none."""
    top = module_name.partition(".")[0]
    for distribution in packages_distributions().get(top, ()):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return str(getattr(sys.modules[module_name], "__version__", ""))
