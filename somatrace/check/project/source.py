"""Python source files, parsed only where a faster text search is not enough."""

from __future__ import annotations

import ast
import codecs
import re
import symtable
import sys
import warnings
from dataclasses import dataclass

from somatrace.check.project import model_clients
from somatrace.check.project.contained_files import UnreadableFileError
from somatrace.check.project.file_tree import FileTree
from somatrace.check.project.source_encoding import strange_encoding

#: Names whose presence makes a module worth running. Without one of them, or of the statements below, a
#: module cannot start tracing, build a model client, or end or block the process when imported.
_WORDS = (b"somatrace", b"init_tracing", *model_clients.WORDS, b"import_module", b"__import__")
#: Both patterns start with a literal byte and search a text that starts with a newline: `re` then skips
#: from one newline to the next, in a tenth of the time `^` takes.
_STATEMENTS = re.compile(
    rb"\n(?:while|raise|exit|quit|exec|sys\.exit|os\._exit|os\.exec\w+|asyncio\.run"
    rb"|[\w.]+\.(?:run|serve\w*|start\w*)\()"
)
_IMPORT = re.compile(
    rb"[\n;:][ \t\f]*(?:from[ \t]+([\w.]++(?:[ \t]++(?!import\b)[\w.]++)*+)[ \t]+import"
    rb"[ \t]+(\([^)]{0,10000}\)|[^\n#;]+)|import[ \t]+([^\n#;]+))"
)
#: Syntax depends on the Python version: a service may target a newer one than the check runs on.
_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
#: Python joins the parts of an imported name one by one, copying all of it each time: a name of 100,000 parts
#: would keep it busy for half a minute, without letting other threads run.
_MAX_PARTS = 1_000
_IMPORTED = re.compile(rb"\b(?:import|from)\b((?:[\w. \t\f\x80-\xff]|\\\r?\n)++)")
_NAME = re.compile(rb"([\w.]+)(?:\s++as\s++\w+)?")


class UnparsableError(Exception):
    """Python cannot parse the source."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


@dataclass(frozen=True, slots=True)
class Imported:
    """One import as written: dots, module, and the names taken from it (empty for `import x`)."""

    level: int
    module: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModuleGlance:
    """Facts about a module that do not require abstract interpretation."""

    matters: bool
    imports: tuple[Imported, ...] = ()
    reason: str = ""
    line: int = 1


class Sources:
    """Parsed and scanned modules of one source tree. Syntax trees are dropped after each service."""

    def __init__(self, tree: FileTree, wrappers: tuple[str, ...] = ()) -> None:
        self._tree = tree
        self._words = [*_WORDS, *(name.rpartition(".")[2].encode() for name in wrappers)]
        self._glances: dict[str, ModuleGlance] = {}
        self._parsed: dict[str, ast.Module | UnparsableError] = {}
        self._lines: dict[str, list[str]] = {}

    def parse(self, path: str) -> ast.Module:
        """The syntax tree. Raises UnparsableError."""
        found = self._parsed.get(path)
        if found is None:
            found = self._parsed[path] = self._parse(path)
        if isinstance(found, UnparsableError):
            raise found
        return found

    def _parse(self, path: str) -> ast.Module | UnparsableError:
        try:
            return parse(self._tree.read(path))
        except UnreadableFileError as error:
            return UnparsableError(f"it cannot be read: {error}", 1)
        except UnparsableError as error:
            return error

    def glance(self, path: str) -> ModuleGlance:
        found = self._glances.get(path)
        if found is None:
            found = self._glances[path] = self._glance(path)
        return found

    def _glance(self, path: str) -> ModuleGlance:
        try:
            source = self._tree.read(path)
        except UnreadableFileError as error:
            return ModuleGlance(matters=True, reason=f"it cannot be read: {error}")
        try:
            _refuse_encoding(source)
        except UnparsableError as error:
            return ModuleGlance(matters=True, reason=error.reason, line=error.line)
        if any(word in source for word in self._words) or _STATEMENTS.search(_lines(source)):
            return ModuleGlance(matters=True, imports=_imports(source))
        try:
            _readable(source)
        except UnparsableError as error:
            return ModuleGlance(matters=True, reason=error.reason, line=error.line)
        return ModuleGlance(matters=False, imports=_imports(source))

    def imports(self, path: str) -> tuple[Imported, ...]:
        """The imports anywhere in a file, without a look at its syntax."""
        found = self._glances.get(path)
        try:
            return found.imports if found is not None else _imports(self._tree.read(path))
        except UnreadableFileError:
            return ()

    def mentions(self, path: str, word: bytes) -> bool:
        """Whether a file is readable and contains these bytes."""
        return self.matches(path, re.compile(re.escape(word)))

    def matches(self, path: str, pattern: re.Pattern[bytes]) -> bool:
        """Whether a file is readable and the pattern matches in it."""
        try:
            return bool(pattern.search(self._tree.read(path)))
        except UnreadableFileError:
            return False

    def line(self, path: str, number: int) -> str:
        """One line of the file; empty if it does not exist."""
        if path not in self._lines:
            text = self._tree.text(path) or ""
            self._lines[path] = text.replace("\r", "\n").split("\n")
        lines = self._lines[path]
        return lines[number - 1] if 0 < number <= len(lines) else ""

    def forget(self) -> None:
        """Drop the syntax trees but keep the scan results."""
        self._parsed.clear()
        self._lines.clear()


def parse(source: bytes) -> ast.Module:
    """Call `ast.parse`, turning all its exceptions into UnparsableError and suppressing its warnings."""
    _refuse_encoding(source)
    _refuse_endless_names(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except SyntaxError as error:
            raise UnparsableError(_message(error), error.lineno or 1) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise UnparsableError(_why(error), 1) from None


def _refuse_encoding(source: bytes) -> None:
    """Raise UnparsableError for an encoding that is not one of source files."""
    found = strange_encoding(source)
    if found is not None:
        raise UnparsableError(
            f"it cannot be read: sources in the encoding {found[0]} are not decoded", found[1]
        )


def _readable(source: bytes) -> None:
    """Raise UnparsableError where `parse` would, in a fifth of the time for a large file."""
    _refuse_endless_names(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            symtable.symtable(source, "<module>", "exec")  # type: ignore[arg-type]  # it also accepts bytes
        except SyntaxError as error:
            raise UnparsableError(_message(error), error.lineno or 1) from None
        except TypeError:
            parse(source)
        except (ValueError, RecursionError, MemoryError) as error:
            raise UnparsableError(_why(error), 1) from None


def _refuse_endless_names(source: bytes) -> None:
    if source.count(b".") <= _MAX_PARTS:
        return
    for match in _IMPORTED.finditer(source):
        if match[1].count(b".") > _MAX_PARTS:
            line = source.count(b"\n", 0, match.start()) + 1
            raise UnparsableError(f"it imports a name of more than {_MAX_PARTS:,} parts", line)


def _message(error: SyntaxError) -> str:
    return f"{_PYTHON} cannot parse it: {error.msg}"


def _why(error: Exception) -> str:
    return f"{_PYTHON} cannot parse it: " + (str(error) or "it is nested too deeply")


def _lines(source: bytes) -> bytes:
    """The source with a newline before every line, including the first."""
    return b"\n" + source.removeprefix(codecs.BOM_UTF8).replace(b"\r", b"\n")


def _imports(source: bytes) -> tuple[Imported, ...]:
    found: dict[Imported, None] = {}
    for module, names, plain in _IMPORT.findall(_lines(source).replace(b"\\\n", b" ")):
        if plain:
            for name in _NAME.findall(plain):
                found[Imported(0, name.decode())] = None
        else:
            dotted = module.replace(b" ", b"").replace(b"\t", b"").decode()
            level = len(dotted) - len(dotted.lstrip("."))
            uncommented = re.sub(rb"#[^\n]*", b"", names)
            taken = tuple(name.decode() for name in _NAME.findall(uncommented))
            found[Imported(level, dotted.lstrip("."), taken)] = None
    return tuple(found)
