"""Remove tracing from traced trees in the ways that happen in practice."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from somatrace.check.checker import check
from somatrace.check.project.file_tree import FileTree
from somatrace.check.settings import CheckSettings
from tests.check.corpus import Sample, samples
from tests.check.starting import commands, observed

#: What says of a process that its tracing is missing, late or uncertain.
ABOUT_THE_CALL = {"ST000", "ST001", "ST002", "ST003", "ST004", "ST005", "ST006", "ST007", "ST041", "ST042"}


@dataclass(frozen=True)
class Call:
    """A statement of a tree that calls `init_tracing` and does nothing else."""

    path: str
    lines: list[str]
    first: int
    last: int
    #: the call as written, on one line, and the name that it calls
    text: str
    name: str
    in_function: bool

    @property
    def indent(self) -> str:
        line = self.lines[self.first]
        return line[: len(line) - len(line.lstrip())]


@dataclass(frozen=True)
class Mutant:
    """A tree that was traced, and how it was changed."""

    sample: Sample
    way: str

    def __str__(self) -> str:
        return f"{self.sample.name}: {self.way}"


@dataclass(frozen=True)
class Fate:
    """What a real start says of a mutant, and what the check does."""

    mutant: Mutant
    really: frozenset[str]
    said: frozenset[str]

    @property
    def starts(self) -> bool:
        return "ST000" not in self.really

    @property
    def lost(self) -> bool:
        return self.starts and self.really != {"ok"}

    @property
    def caught(self) -> bool:
        return bool(self.said & ABOUT_THE_CALL)


def _replaced(call: Call, *new: str) -> str:
    """The file with these lines in place of the statement, as deep as it is."""
    lines = [call.indent + line for line in new]
    return "".join(
        [*call.lines[: call.first], *(line + "\n" for line in lines), *call.lines[call.last + 1 :]]
    )


def _moved_to_the_end(call: Call) -> str | None:
    if call.indent:
        return None
    rest = [*call.lines[: call.first], "pass\n", *call.lines[call.last + 1 :]]
    return "".join(rest) + f"\n{call.text}\n"


def _into_the_guard(call: Call) -> str | None:
    return None if call.indent else _replaced(call, 'if __name__ == "__main__":', f"    {call.text}")


def _behind_a_return(call: Call) -> str | None:
    return _replaced(call, "return None", call.text) if call.in_function else None


def _imported_from_elsewhere(call: Call) -> str | None:
    text = "".join(call.lines)
    changed = text.replace("from somatrace import", "from stub_tracing import")
    return changed if changed != text else None


def _shadowed(call: Call) -> str | None:
    if "." in call.name:
        return None
    return _replaced(call, f"def {call.name}(*_, **__): return None", call.text)


def _rebound(call: Call) -> str | None:
    if "." in call.name or call.in_function:
        return None
    return _replaced(call, f"{call.name} = lambda *_, **__: None", call.text)


WAYS: dict[str, Callable[[Call], str | None]] = {
    "removed": lambda call: _replaced(call, "pass"),
    "commented out": lambda call: _replaced(call, f"pass  # {call.text}"),
    "only a string": lambda call: _replaced(call, f"_ = {call.text!r}"),
    "another function is called": lambda call: _replaced(call, "str" + call.text[len(call.name) :]),
    "only named": lambda call: _replaced(call, f"_ = {call.name}"),
    "guarded by False": lambda call: _replaced(call, "if False:", f"    {call.text}"),
    "guarded by the environment": lambda call: _replaced(
        call, 'if __import__("os").environ.get("TRACING") == "1":', f"    {call.text}"
    ),
    "short-circuited": lambda call: _replaced(call, f"False and {call.text}"),
    "in the other branch": lambda call: _replaced(call, "if True:", "    pass", "else:", f"    {call.text}"),
    "in a loop over nothing": lambda call: _replaced(call, "for _ in ():", f"    {call.text}"),
    "in a handler that never runs": lambda call: _replaced(
        call, "try:", "    pass", "except ValueError:", f"    {call.text}"
    ),
    "after a raise": lambda call: _replaced(
        call, "try:", "    raise ValueError", f"    {call.text}", "except ValueError:", "    pass"
    ),
    "in an uncalled function": lambda call: _replaced(call, "def never():", f"    {call.text}"),
    "in an uncalled lambda": lambda call: _replaced(call, f"_ = lambda: {call.text}"),
    "in an unused generator": lambda call: _replaced(call, f"_ = ({call.text} for _ in [0])"),
    "in a coroutine that is never awaited": lambda call: _replaced(
        call, "async def never():", f"    {call.text}", "_ = never"
    ),
    "on a thread": lambda call: _replaced(
        call, f'__import__("threading").Thread(target=lambda: {call.text}).start()'
    ),
    "at the end of the process": lambda call: _replaced(
        call, f'__import__("atexit").register(lambda: {call.text})'
    ),
    "behind a return": _behind_a_return,
    "moved to the end": _moved_to_the_end,
    "moved into the main guard": _into_the_guard,
    "shadowed by a function": _shadowed,
    "shadowed by an assignment": _rebound,
    "imported from elsewhere": _imported_from_elsewhere,
}


def mutants() -> list[Mutant]:
    """Every way, in every traced tree that can be started."""
    found: list[Mutant] = []
    for sample in samples():
        if sample.expected == "ok" and sample.runs and commands(sample):
            for call in _calls(sample):
                where = f"({call.path}:{call.first + 1})"
                found += (Mutant(changed, f"{way} {where}") for way, changed in _changed(sample, call))
    return found


def _changed(sample: Sample, call: Call) -> Iterator[tuple[str, Sample]]:
    for way, change in WAYS.items():
        text = change(call)
        if text is not None and _parses(text):
            files = {**sample.files, call.path: text}
            if way == "imported from elsewhere":
                files |= dict.fromkeys(_beside(sample), "def init_tracing(*_, **__): return None\n")
            yield way, replace(sample, files=files)


def some(count: int, seed: int) -> list[Mutant]:
    """A few of them: the same ones for the same seed."""
    return random.Random(seed).sample(mutants(), count)


def fate(mutant: Mutant, folder: Path) -> Fate:
    """Start it for real, and check it."""
    return Fate(mutant, really(mutant, folder), said(mutant, folder))


def really(mutant: Mutant, folder: Path) -> frozenset[str]:
    """What real starts show. What is traced is started in other circumstances too."""
    tree, record = folder / "started", folder / "record"
    tree.mkdir()
    record.mkdir()
    mutant.sample.write(tree)
    shown = set(observed(mutant.sample, tree, record))
    if shown == {"ok"}:
        conditional = replace(mutant.sample, expected="ST003")
        again = folder / "again"
        again.mkdir()
        shown |= set(observed(conditional, tree, again)) - {"ST000"}
    return frozenset(shown)


def said(mutant: Mutant, folder: Path) -> frozenset[str]:
    """What the check reports."""
    tree = folder / "checked"
    tree.mkdir()
    mutant.sample.write(tree)
    return frozenset(finding.code for finding in check(FileTree(tree), CheckSettings()).findings)


def _beside(sample: Sample) -> Iterator[str]:
    """Where the module that stands in for somatrace may be found."""
    folders = {""} | {file.rpartition("/")[0] for file in sample.files if file.endswith(".py")}
    for folder in folders:
        yield f"{folder}/stub_tracing.py" if folder else "stub_tracing.py"


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _calls(sample: Sample) -> Iterator[Call]:
    for path, text in sample.files.items():
        if not path.endswith(".py") or not _parses(text):
            continue
        tree = ast.parse(text)
        names = set(_names(tree))
        lines = text.splitlines(keepends=True)
        for owner in ast.walk(tree):
            for statement in _bodies(owner):
                if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
                    continue
                name = ast.unparse(statement.value.func)
                alone = not lines[statement.lineno - 1][: statement.col_offset].strip()
                if name in names and alone and statement.end_lineno is not None:
                    yield Call(
                        path,
                        lines,
                        statement.lineno - 1,
                        statement.end_lineno - 1,
                        ast.unparse(statement),
                        name,
                        isinstance(owner, ast.FunctionDef | ast.AsyncFunctionDef),
                    )


def _names(tree: ast.Module) -> Iterator[str]:
    """What `init_tracing` is called in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in {"somatrace", "somatrace.tracing"}:
            for alias in node.names:
                if alias.name == "init_tracing":
                    yield alias.asname or alias.name
                elif alias.name == "*":
                    yield "init_tracing"
                elif alias.name == "tracing":
                    yield f"{alias.asname or alias.name}.init_tracing"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in {"somatrace", "somatrace.tracing"}:
                    yield f"{alias.asname or alias.name}.init_tracing"


def _bodies(node: ast.AST) -> Iterator[ast.stmt]:
    for name in ("body", "orelse", "finalbody"):
        found = getattr(node, name, [])
        if isinstance(found, list):
            yield from (one for one in found if isinstance(one, ast.stmt))
