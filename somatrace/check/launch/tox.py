"""The commands of an environment of tox.ini, which `tox -e serve` runs (https://tox.wiki/en/latest/config.html)."""

from __future__ import annotations

import re

from somatrace.check.launch.recipes import Recipe

_SECTION = re.compile(r"^\[testenv:([^\]]+)\]\s*$")
_SETTING = re.compile(r"^(\w+)\s*=\s*(.*)$")
_KNOWN = {"envpython": "python", "toxinidir": ".", "tox_root": ".", "/": "/", ":": ":"}
_REFERENCE = re.compile(r"\{(\w+|/|:)(?::([^{}]*))?\}")
_MOST_LINES = 5_000


def recipe(text: str, environment: str) -> Recipe | None:
    """The commands of an environment with a section of its own; None if there is none."""
    section = setting = ""
    found: Recipe | None = None
    for number, line in enumerate(text.split("\n")[:_MOST_LINES], 1):
        if line.startswith("["):
            match = _SECTION.match(line)
            section, setting = match[1].strip() if match is not None else "", ""
        elif section == environment and line.strip() and not line.lstrip().startswith(("#", ";")):
            match = _SETTING.match(line)
            setting = match[1] if match is not None else setting
            value = match[2] if match is not None else line
            if setting == "commands" and value.strip():
                found = found or Recipe((), number)
                found.lines.append(_REFERENCE.sub(_value, value.strip()).lstrip("-! "))
    return found


def _value(match: re.Match[str]) -> str:
    """`{posargs:default}`, `{envpython}`; what is not known is left to the shell."""
    name, default = match.groups()
    if name == "posargs":
        return default or ""
    return _KNOWN.get(name, f"${{{name.upper()}}}")
