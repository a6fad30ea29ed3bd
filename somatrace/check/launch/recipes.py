"""Recipes of Makefiles and justfiles, for the target that a launcher names: `make run`, `just serve`.

https://www.gnu.org/software/make/manual/make.html: a recipe is the lines below its target that begin with a
tab; `@`, `-` and `+` before a line are not part of it; `$(NAME)` is a variable, of which the command line's
win over the file's, and `$$` a dollar sign. https://just.systems/man/en/: a recipe is the indented lines
below its name, and `{{name}}` a variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from posixpath import basename
from typing import Final

FILES: Final = {
    "make": ("GNUmakefile", "makefile", "Makefile"),
    "just": ("justfile", ".justfile", "Justfile"),
    "tox": ("tox.ini",),
}
_VARIABLE = re.compile(r"^(?:export[ \t]+|override[ \t]+)?([\w.-]+)[ \t]*(\?|:|::|\+|!)?=[ \t]*(.*)$")
_RULE = re.compile(r"^@?([^\s:=#][^:=#]*?)[ \t]*::?(?![=:])[ \t]*([^=#;]*)(?:;([^#]*))?(?:#.*)?$")
_PARAMETER = r"[ \t]+[*+$]{0,2}[\w-]+(?:=(?:\"[^\"]*\"|'[^']*'|[\w./-]+))?"
_WITH_PARAMETERS = re.compile(rf"^@?([\w-]+)((?:{_PARAMETER}){{1,20}})[ \t]*:(?!=)[ \t]*([^#]*)(?:#.*)?$")
_DEFAULT = re.compile(r"([\w-]+)=(?:[\"']([^\"']*)[\"']|([\w./-]+))")
_REFERENCE = re.compile(r"\$\$|\$\((\w+)\)|\$\{(\w+)\}|\$\(([a-z]+[ \t][^()]*)\)|\{\{[ \t]*(\w+)[ \t]*\}\}")
_QUOTED = re.compile(r"^([\"'])(.*)\1[ \t]*$")
_MOST_LINES = 5_000
_MOST_DEPTH = 5
#: Targets and variables that refer to each other multiply.
_MOST_NEEDED = 100
_MOST_EXPANDED = 1_000
_LONGEST = 2_000


@dataclass(slots=True)
class Recipe:
    """The lines of one target, from the line where they begin, and the targets that it needs first."""

    needed: tuple[str, ...]
    line: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip()


@dataclass(slots=True)
class _Recipes:
    found: dict[str, Recipe] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)


def called(argv: tuple[str, ...]) -> tuple[str, str, tuple[str, ...], dict[str, str]]:
    """The file, the directory, the targets and the variables that a command line gives."""
    file, folder = "", ""
    targets: list[str] = []
    variables: dict[str, str] = {}
    words = list(argv[1:])
    while words:
        word = words.pop(0)
        if word == "--":  # what follows goes to the commands
            break
        option, equals, value = word.partition("=")
        if (
            word in {"-f", "--file", "--makefile", "--justfile", "-C", "--directory", "-d", "-I", "--set"}
            and words
        ):
            given = words.pop(0)
            file, folder = (given, folder) if "file" in word or word == "-f" else (file, given)
        elif option in {"--file", "--makefile", "--justfile"} and equals:
            file = value
        elif option == "--directory" and equals:
            folder = value
        elif word.startswith("-C") and len(word) > 2:
            folder = word[2:]
        elif equals and option.isidentifier():
            variables[option] = value
        elif not word.startswith("-"):
            targets.append(word)
    if basename(argv[0]) == "just":
        targets = targets[:1]
    return file, folder, tuple(targets), variables


def recipe(text: str, target: str, variables: Mapping[str, str]) -> Recipe | None:
    """The recipe of a target, or of the first one; one without lines is that of what it needs."""
    recipes = _read(text)
    known = {"MAKE": "make", **recipes.variables, **variables}
    found = _followed(recipes, target or next(iter(recipes.found), ""), set())
    if found is None:
        return None
    left = [_MOST_EXPANDED]
    return Recipe(found.needed, found.line, [_expanded(line, known, left) for line in found.lines])


def _followed(recipes: _Recipes, target: str, seen: set[str]) -> Recipe | None:
    found = recipes.found.get(target)
    if found is None or found.text or target in seen:
        return found
    seen.add(target)
    for name in reversed(found.needed):
        needed = _followed(recipes, name, seen) if len(seen) < _MOST_NEEDED else None
        if needed is not None and needed.text:
            return needed
    return found


@lru_cache(4)
def _read(text: str) -> _Recipes:
    read = _Recipes()
    current: list[Recipe] = []
    for number, line in enumerate(text.split("\n")[:_MOST_LINES], 1):
        if current and (line.startswith("\t") or (line.startswith(" ") and line.strip())):
            _add(current, line.strip(), number)
        elif current and (not line.strip() or line.startswith("#")):
            _add(current, "", number)
        elif len(line) > _LONGEST:
            current = []
        elif match := _VARIABLE.match(line):
            current = []
            _define(read, *match.groups())
        elif (match := _WITH_PARAMETERS.match(line)) is not None and "=" in match[2]:
            read.variables |= {name: quoted or bare for name, quoted, bare in _DEFAULT.findall(match[2])}
            current = _begin(read, [match[1]], match[3].split())
        elif match := _RULE.match(line):
            current = _begin(read, match[1].split(), match[2].split())
            if match[3]:
                _add(current, match[3].strip(), number)
        else:
            current = []
    return read


def _define(read: _Recipes, name: str, kind: str | None, value: str) -> None:
    """A variable; `?=` sets one that is not set."""
    value = value.partition(" #")[0].strip()
    quoted = _QUOTED.match(value) if kind == ":" else None
    if kind == "+" and name in read.variables:
        value = f"{read.variables[name]} {value}"
    if kind != "?" or name not in read.variables:
        read.variables[name] = (quoted[2] if quoted is not None else value)[:_LONGEST]


def _begin(read: _Recipes, names: list[str], needed: list[str]) -> list[Recipe]:
    """The targets of a rule; one of several rules for a target has its lines. just has parameters there."""
    wanted = [name for name in needed if name != "|"]
    begun = []
    for name in names:
        known = read.found.get(name)
        made = Recipe((*(known.needed if known is not None else ()), *wanted))
        if known is not None and known.text:
            made.line, made.lines = known.line, known.lines
        if not name.startswith(".") and "%" not in name:
            read.found[name] = made
        begun.append(made)
    return begun


def _add(recipes: list[Recipe], line: str, number: int) -> None:
    for one in recipes:
        if not one.line and line:
            one.line = number
        if one.line:
            one.lines.append(
                "" if line.startswith("#") and not line.startswith("#!") else line.lstrip("@-+ ")
            )


def _expanded(line: str, known: Mapping[str, str], left: list[int], depth: int = 0) -> str:
    """A line with the values of its variables; an unknown one is left to the shell. `left` limits them."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name = match[1] or match[2] or match[4]
        if not name:
            return "$COMPUTED"
        left[0] -= 1
        if name not in known or depth > _MOST_DEPTH or left[0] < 0:
            return f"${{{name}}}"
        return _expanded(known[name], known, left, depth + 1)

    return _REFERENCE.sub(value, line)[:_LONGEST]
