"""Insert missing calls for `--fix` where their place is obvious."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from somatrace.check.project.contained_files import UnreadableFileError, read_file, write_file
from somatrace.check.project.source import UnparsableError, parse
from somatrace.check.rules.finding import Finding

_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BOM = b"\xef\xbb\xbf"


def planned(source: bytes, name: str) -> bytes | None:
    """The source with import and call after its leading imports; None if there is no obvious place."""
    if any(
        match and match[1].lower() not in {b"utf-8", b"utf8"}
        for match in map(_COOKIE.match, source.split(b"\n")[:2])
    ):
        return None
    try:
        tree = parse(source)
    except UnparsableError:
        return None
    end = _line_of_last_import(tree)
    bom = source.startswith(_BOM)
    newline = b"\r\n" if b"\r\n" in source else b"\n"
    lines = source.removeprefix(_BOM).split(b"\n")
    if sum(node.lineno <= end <= (node.end_lineno or 0) for node in tree.body) > 1:
        return None
    call = f'init_tracing("{name}")'.encode()
    added = (
        [call, b""] if _imports_somatrace(tree) else [b"from somatrace import init_tracing", b"", call, b""]
    )
    before = [line.rstrip(b"\r") for line in lines[:end]]
    after = [line.rstrip(b"\r") for line in lines[end:]]
    if _imports_somatrace(tree) and before:
        added = [b"", *added]
    while len(after) > 1 and not after[0].strip():
        after.pop(0)
    return (_BOM if bom else b"") + newline.join([*before, *added, *after])


def _line_of_last_import(tree: ast.Module) -> int:
    """The last line of a module's leading docstring and imports; 0 if it has neither."""
    end = 0
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and not end
        if not docstring and not isinstance(node, ast.Import | ast.ImportFrom):
            break
        end = node.end_lineno or node.lineno
    return end


def _imports_somatrace(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "somatrace"
        and not node.level
        and _imports_init_tracing(node)
        for node in tree.body
    )


def _imports_init_tracing(node: ast.ImportFrom) -> bool:
    return any(alias.name == "init_tracing" and alias.asname is None for alias in node.names)


def service_name(finding: Finding, root: Path, taken: set[str]) -> str | None:
    """The directory's name, unless another service has it or it is not a valid name."""
    name = finding.service.rpartition("/")[2] or root.resolve().name
    return name if re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) and name not in taken else None


@dataclass(frozen=True, slots=True)
class FixResult:
    """The previous content of each file that was fixed, and why others could not be written."""

    before: dict[str, bytes]
    refused: dict[str, str]


def fix(root: Path, findings: tuple[Finding, ...], taken: set[str]) -> FixResult:
    """Fix the obvious cases. Files that are reached through a link are left alone."""
    done = FixResult({}, {})
    names = set(taken)
    for finding in findings:
        name = service_name(finding, root, names)
        if finding.code != "ST001" or finding.path in {*done.before, *done.refused} or name is None:
            continue
        try:
            source = read_file(str(root), finding.path).data
            text = planned(source, name)
            if text is not None:
                write_file(str(root), finding.path, text)
                done.before[finding.path] = source
        except UnreadableFileError as error:
            done.refused[finding.path] = str(error)
        except OSError as error:
            done.refused[finding.path] = error.strerror or "it cannot be written"
    return done
