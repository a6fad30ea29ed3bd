"""Units of systemd: `ExecStart` in its `WorkingDirectory`.

https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html and systemd.exec.html. The tree
is somewhere on the host, so a directory of the host is matched to the tree's directory of that name, or else
to the unit's own or the root; and an absolute path to the file of the tree that it ends with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from posixpath import dirname

from somatrace.check.launch import commands
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin
from somatrace.check.project.file_tree import FileTree, beside

_NAME = re.compile(r".+\.service(?:\.(?:in|j2|jinja2?|tmpl|template|example|sample))?")
_SECTION = re.compile(r"\s*\[(\w+)\]")
_PREFIXES = "@-:+!|"
_SPECIFIER = re.compile(r"%([%A-Za-z])")
_KNOWN = {"%": "%", "h": "/root", "t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log"}
_VARIABLE = re.compile(r"\"(\w+)=([^\"]*)\"|'(\w+)=([^']*)'|(\w+)=(\S*)")
_MOST_PARTS = 30


def is_unit(path: str) -> bool:
    """Whether the path has the name of a service unit, or of a template for one."""
    return _NAME.fullmatch(path.rpartition("/")[2]) is not None


def launches(path: str, around: LaunchContext, *, once: bool = False) -> Iterator[Launch]:
    """The processes of a unit that stays, or of one that runs `once` (`Type=oneshot`)."""
    given = _settings(around.tree.text(path) or "")
    if any(value == "oneshot" for value, _ in given.get("Type", ())) is not once:
        return
    folder = _specified(given.get("WorkingDirectory", [("", 1)])[-1][0].lstrip("-"))
    variables: dict[str, str] = {}
    for value, _ in given.get("Environment", ()):
        for match in _VARIABLE.finditer(value):
            name, text = (part for part in match.groups() if part is not None)
            variables[name] = text
    for value, line in given.get("ExecStart", ()):
        command = _specified(value.lstrip(_PREFIXES)).strip()
        if command:
            inside = _on_host(path, folder, command, around)
            python = tuple(part for part in variables.get("PYTHONPATH", "").split(":") if part)
            inside = replace(inside, variables=variables, pythonpath=python)
            yield from commands.text(command, inside, LaunchOrigin(path, line, command))


def _settings(text: str) -> dict[str, list[tuple[str, int]]]:
    """The settings of `[Service]` with their lines. An empty one takes back those before it."""
    found: dict[str, list[tuple[str, int]]] = {}
    section, lines = "", text.split("\n")
    number = 0
    while number < len(lines):
        first, line = number + 1, lines[number]
        number += 1
        if line.lstrip().startswith(("#", ";")):
            continue
        parts = [line]
        while parts[-1].endswith("\\") and number < len(lines):
            parts[-1] = parts[-1][:-1]
            parts.append(lines[number])
            number += 1
        if match := _SECTION.match(line):
            section = match[1]
        elif section == "Service" and "=" in line:
            name, _, value = " ".join(parts).partition("=")
            kept = found.setdefault(name.strip(), [])
            if value.strip():
                kept.append((value.strip(), first))
            else:
                kept.clear()
    return {name: values for name, values in found.items() if values}


def _specified(text: str) -> str:
    """The text with systemd's specifiers: those of an instance are known only at run time."""
    return _SPECIFIER.sub(lambda match: _KNOWN.get(match[1], f"${{{match[1]}}}"), text)


def _on_host(path: str, folder: str, command: str, around: LaunchContext) -> LaunchContext:
    """The context of a command on the host that the tree is deployed to."""
    tree = around.tree
    workdir = folder if folder.startswith("/") else "/"
    mounts = [(workdir, place) for place in _places(tree, workdir)]
    mounts += [(workdir, dirname(path)), (workdir, "")]
    for word in re.findall(r"(?<![^\s\"'=])/[\w./-]+", command):
        found = next((end for end in _ends(word) if tree.is_file(end)), "")
        beneath = beside(dirname(path), word.rpartition("/")[2])
        if found or tree.is_file(beneath):
            mounts.append((word, found or beneath))
    return replace(around, workdir=workdir, mounts=tuple(sorted(mounts, key=lambda one: -len(one[0]))))


def _places(tree: FileTree, folder: str) -> list[str]:
    return [end for end in _ends(folder) if tree.is_folder(end)]


def _ends(path: str) -> list[str]:
    """The ends of an absolute path, the longest first."""
    parts = [part for part in path.split("/") if part][-_MOST_PARTS:]
    return ["/".join(parts[number:]) for number in range(len(parts))]
