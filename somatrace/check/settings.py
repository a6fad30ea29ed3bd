"""Settings of the check: `[tool.somatrace.check]` in pyproject.toml."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field, fields
from fnmatch import fnmatch
from pathlib import Path
from posixpath import normpath
from typing import Any

from somatrace.check.project import toml_reader
from somatrace.check.project.contained_files import UnreadableFileError, read_file
from somatrace.check.rules.catalogue import RULES

_FILE = "pyproject.toml"
#: Patterns are compared with every file, so their number and length bound the time.
_MOST_ENTRIES = 1_000
_LONGEST_ENTRY = 1_000


class SettingsError(Exception):
    """A setting that cannot be used; the message is one line with the remedy."""


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """A project's settings. Without a section, everything is checked."""

    entrypoints: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_file_ignores: dict[str, tuple[str, ...]] = field(default_factory=dict)
    baseline: str = ""

    def wants(self, code: str, path: str) -> bool:
        """Whether findings with this code in this file are reported."""
        if self.select and not code.startswith(self.select):
            return False
        if self.ignore and code.startswith(self.ignore):
            return False
        return not any(
            fnmatch(path, pattern) and code.startswith(codes)
            for pattern, codes in self.per_file_ignores.items()
        )


def read(root: Path) -> CheckSettings:
    """The section of the pyproject.toml in `root`, a real path. Raises SettingsError."""
    if not os.path.lexists(root / _FILE) or (root / _FILE).is_dir():
        return CheckSettings()
    try:
        text = read_file(str(root), _FILE, toml_reader.MAX_BYTES).data.decode()
    except UnreadableFileError as error:
        raise SettingsError(f"{_FILE} cannot be read: {error}") from None
    except UnicodeDecodeError:
        return CheckSettings()
    try:
        data = toml_reader.load(text)
    except toml_reader.UnreadableTomlError as error:
        if "tool.somatrace" in text:
            raise SettingsError(f"{_FILE} cannot be read: {error}") from None
        return CheckSettings()
    section: Any = data
    for name in ("tool", "somatrace", "check"):
        section = section.get(name, {}) if isinstance(section, dict) else {}
    if not isinstance(section, dict):
        raise SettingsError("[tool.somatrace.check] must be a table")
    return CheckSettings(**{key.replace("-", "_"): _valid(key, value) for key, value in section.items()})


def _valid(key: str, value: Any) -> Any:
    known = [one.name.replace("_", "-") for one in fields(CheckSettings)]
    if key not in known:
        raise SettingsError(f"[tool.somatrace.check] has no setting `{key}`{_nearest(key, known)}")
    if key == "baseline":
        if not isinstance(value, str) or "\0" in value:
            raise SettingsError("[tool.somatrace.check] baseline must be the path of a file")
        return value
    if key == "per-file-ignores":
        if not isinstance(value, dict):
            raise SettingsError(
                '[tool.somatrace.check] per-file-ignores must be a table of "pattern" = ["ST003"]'
            )
        _bounded(key, list(value))
        return {str(pattern): codes(listed, key) for pattern, listed in value.items()}
    if key in {"select", "ignore"}:
        return codes(value, key)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise SettingsError(f"[tool.somatrace.check] {key} must be a list of strings")
    if key == "entrypoints" and not all(map(_is_inside, value)):
        raise SettingsError("[tool.somatrace.check] entrypoints must be paths of files below the root")
    return _bounded(key, value)


def _is_inside(path: str) -> bool:
    found = normpath(path)
    return "\0" not in path and found != "." and found.split("/")[0] not in {"", ".."}


def _bounded(key: str, values: list[str]) -> tuple[str, ...]:
    if len(values) > _MOST_ENTRIES or any(len(one) > _LONGEST_ENTRY for one in values):
        raise SettingsError(
            f"{key} has more than {_MOST_ENTRIES} entries, or one longer than {_LONGEST_ENTRY} characters"
        )
    return tuple(values)


def codes(value: Any, key: str) -> tuple[str, ...]:
    """Codes or prefixes of codes. Raises SettingsError for one that matches no rule."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise SettingsError(f"{key} must be a list of codes")
    for code in _bounded(key, value):
        if not code or not any(rule.startswith(code) for rule in RULES):
            raise SettingsError(f"{key}: no rule matches `{code}`{_nearest(code, list(RULES))}")
    return tuple(value)


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.5)
    return f"; did you mean `{close[0]}`?" if close else f"; known are {', '.join(known)}"
