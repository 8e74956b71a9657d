"""A table of a TOML file, read entry by entry.

Whoever configures a service at night wants to be told all that is wrong at once, and what to write
instead. So nothing is raised here: a `Table` gives the default for an entry that cannot be used,
and takes note of the fault. What nobody asked it for is a fault, too, most often a slip of the pen.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Fault:
    """Something wrong in a configuration.

    Parameters
    ----------
    key
        Dotted, as TOML writes it: ``"service.http"``.
    sentence
        What is wrong with it, and the cure.
    """

    key: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.key}: {self.sentence}"


class Table:
    """A table, and the tables in it.

    Parameters
    ----------
    values
        The entries, as `tomllib` gives them.
    folder
        What paths in it are relative to.
    faults
        Takes what is wrong.
    name
        Dotted name of the table; an empty string for the whole file.

    Attributes
    ----------
    name
        The same.
    """

    def __init__(
        self, values: Mapping[str, Any], *, folder: Path, faults: list[Fault], name: str = ""
    ) -> None:
        self._values = values
        self._folder = folder
        self._faults = faults
        self.name = name
        self._known: list[str] = []
        self._children: list[Table] = []

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def names(self) -> list[str]:
        """The names of its entries."""
        return list(self._values)

    def fault(self, key: str, sentence: str) -> None:
        """Note that something is wrong with an entry; an empty key means the table itself."""
        self._faults.append(Fault(self._dotted(key) if key else self.name, sentence))

    def text(self, key: str, default: str | None = None) -> str:
        """A string; one that has no default must be given."""
        if key not in self._values and default is None:
            self.fault(key, "is missing; it must be given.")
        return str(self._get(key, default or "", (str,), "a string"))

    def choice(self, key: str, default: str, choices: Collection[str]) -> str:
        """One of a few strings."""
        value = self.text(key, default)
        if value not in choices:
            allowed = ", ".join(f'"{choice}"' for choice in choices)
            self.fault(key, f'"{value}" is none of {allowed}{nearest(value, choices)}')
            return default
        return value

    def whole(self, key: str, default: int, *, least: int = 0) -> int:
        """A whole number."""
        kind = f"a whole number of at least {least}"
        value = self._get(key, default, (int,), kind)
        if value < least:
            self.fault(key, f"{value} is too small; write {kind}.")
        return int(value)

    def number(self, key: str, default: float, *, above: float = 0.0) -> float:
        """A finite number."""
        kind = f"a number larger than {above:g}"
        value = float(self._get(key, default, (int, float), kind))
        if not above < value < math.inf:
            self.fault(key, f"{value:g} cannot be; write {kind}.")
        return value

    def texts(self, key: str, default: Collection[str] = ()) -> tuple[str, ...]:
        """A list of strings."""
        values = self._get(key, list(default), (list,), "a list of strings")
        if not all(isinstance(value, str) for value in values):
            self.fault(key, f"{values} is not what is needed; write a list of strings.")
            return tuple(default)
        return tuple(values)

    def table(self, key: str) -> Table:
        """A table in this one; without entries, if there is none."""
        values = self._get(key, {}, (dict,), f"a table, [{self._dotted(key)}]")
        child = Table(values, folder=self._folder, faults=self._faults, name=self._dotted(key))
        self._children.append(child)
        return child

    def tables(self) -> dict[str, Table]:
        """All that this table holds, which are tables themselves."""
        return {key: self.table(key) for key in self._values}

    def rest(self, known: Collection[str] | None = None) -> dict[str, Any]:
        """The entries that were not asked for yet, as they are.

        Parameters
        ----------
        known
            Their names, if no others are allowed.
        """
        names = self._values if known is None else known
        found = {
            key: value
            for key, value in self._values.items()
            if key in names and key not in self._known
        }
        self._known += [name for name in names if name not in self._known]
        return found

    def path(self, key: str) -> Path | None:
        """A path, made absolute; None for an empty string."""
        return self._absolute(self.text(key, ""))

    def folder_to_write(self, key: str) -> Path:
        """A folder that is there, or can be made; it is not made here."""
        path = self._absolute(self.text(key))
        if path is None:
            if key in self._values:
                self.fault(key, "is empty; write the path of a folder.")
            return self._folder
        place = next(above for above in (path, *path.parents) if above.exists())
        if not place.is_dir():
            self.fault(key, f"{place} is no folder; move it away, or name another one.")
        elif not os.access(place, os.W_OK | os.X_OK):
            self.fault(
                key,
                f"{place} cannot be written by {_user()}; name another folder, or have its owner "
                "allow it.",
            )
        return path

    def folders_to_read(self, key: str) -> tuple[Path, ...]:
        """A list of folders."""
        folders = [self._absolute(text) for text in self.texts(key)]
        found = tuple(folder for folder in folders if folder is not None)
        if len(found) < len(folders):
            self.fault(key, "holds an empty string; write the path of a folder.")
        for folder in found:
            if not folder.is_dir():
                self.fault(key, f"{folder} is no folder; mount it, make it, or take it out.")
            elif not os.access(folder, os.R_OK | os.X_OK):
                self.fault(key, f"{folder} cannot be read by {_user()}; have its owner allow it.")
        return found

    def file_to_read(self, key: str) -> Path | None:
        """A file; None if it is not given."""
        path = self.path(key)
        return None if path is None else self.existing_file(key, path)

    def existing_file(self, key: str, path: Path) -> Path:
        """The path of a file that an entry names, made absolute."""
        path = self._absolute(str(path)) or path
        if not path.is_file():
            self.fault(key, f"{path} is no file; name one that is there, or leave the entry out.")
        elif not os.access(path, os.R_OK):
            self.fault(key, f"{path} cannot be read by {_user()}; have its owner allow it.")
        return path

    def done(self) -> None:
        """Note what nobody asked for, here and in the tables inside."""
        for key in self._values:
            if key not in self._known:
                names = ", ".join(self._known)
                self.fault(
                    key,
                    f"is not known{nearest(key, self._known)} "
                    + (f"Known here: {names}." if names else "Nothing can be set here."),
                )
        for child in self._children:
            child.done()

    def _get(self, key: str, default: Any, kinds: tuple[type, ...], kind: str) -> Any:  # noqa: ANN401
        if key not in self._known:
            self._known.append(key)
        value = self._values.get(key, default)
        # A truth value is a whole number to Python, and to nobody else.
        if not isinstance(value, kinds) or isinstance(value, bool):
            self.fault(key, f"{value!r} is not what is needed; write {kind}.")
            return default
        return value

    def _absolute(self, text: str) -> Path | None:
        if not text:
            return None
        try:
            return (self._folder / Path(text).expanduser()).absolute()
        except RuntimeError:  # the home of a user who is not known
            return (self._folder / text).absolute()

    def _dotted(self, key: str) -> str:
        bare = key if _BARE_KEY.fullmatch(key) else '"' + key.replace('"', '\\"') + '"'
        return f"{self.name}.{bare}" if self.name else bare


def nearest(name: str, names: Collection[str]) -> str:
    """The end of a sentence: what may have been meant, if anything comes near."""
    near = difflib.get_close_matches(name, names, n=1)
    return f'; did you mean "{near[0]}"?' if near else "."


def _user() -> str:
    return f"user {os.geteuid()}" if hasattr(os, "geteuid") else "this user"
