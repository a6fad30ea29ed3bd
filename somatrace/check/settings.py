"""Settings of the check: `[tool.somatrace.check]` in pyproject.toml."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field, fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from somatrace.check.rules.catalogue import RULES


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
    """The section of the pyproject.toml in `root`. Raises SettingsError."""
    try:
        text = (root / "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return CheckSettings()
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        if "tool.somatrace" in text:
            raise SettingsError(f"pyproject.toml cannot be read: {error}") from None
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
        if not isinstance(value, str):
            raise SettingsError("[tool.somatrace.check] baseline must be the path of a file")
        return value
    if key == "per-file-ignores":
        if not isinstance(value, dict):
            raise SettingsError(
                '[tool.somatrace.check] per-file-ignores must be a table of "pattern" = ["ST003"]'
            )
        return {str(pattern): codes(listed, key) for pattern, listed in value.items()}
    if key in {"select", "ignore"}:
        return codes(value, key)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise SettingsError(f"[tool.somatrace.check] {key} must be a list of strings")
    return tuple(value)


def codes(value: Any, key: str) -> tuple[str, ...]:
    """Codes or prefixes of codes. Raises SettingsError for one that matches no rule."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise SettingsError(f"{key} must be a list of codes")
    for code in value:
        if not code or not any(rule.startswith(code) for rule in RULES):
            raise SettingsError(f"{key}: no rule matches `{code}`{_nearest(code, list(RULES))}")
    return tuple(value)


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.5)
    return f"; did you mean `{close[0]}`?" if close else f"; known are {', '.join(known)}"
