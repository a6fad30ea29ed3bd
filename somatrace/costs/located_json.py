"""Read JSON and remember on which line each value stands. Numbers are decimal."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, NoReturn

Path = tuple[str | int, ...]

MAX_DEPTH: Final = 8
_SPACE: Final = " \t\r\n"


class LocatedJsonError(ValueError):
    """A text that is not JSON, and the line where it is not."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class LocatedJson:
    """The value of a JSON text, and the lines of its parts. Raises LocatedJsonError."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._ends = [at for at, character in enumerate(text) if character == "\n"]
        self._decoder = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal, parse_constant=_no_number)
        self._lines: dict[Path, int] = {}
        self._at = 0
        self.value: Any = self._value(())
        self._skip()
        if self._at < len(text):
            self._fail("more than one value")

    def line_of(self, path: Path) -> int:
        """The line of a value, or of the closest one around it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _value(self, path: Path) -> Any:
        self._skip()
        self._lines.setdefault(path, self._line())
        if len(path) > MAX_DEPTH:
            self._fail("nested too deeply")
        match self._text[self._at : self._at + 1]:
            case "{":
                found: dict[str, Any] = {}
                self._items("}", lambda _: self._member(found, path))
                return found
            case "[":
                items: list[Any] = []
                self._items("]", lambda number: items.append(self._value((*path, number))))
                return items
        return self._scalar()

    def _items(self, end: str, take: Callable[[int], None]) -> None:
        """Take each item up to the end of an object or array."""
        self._at += 1
        number = 0
        while not self._passed(end):
            if number and not self._passed(","):
                self._fail(f"`,` or `{end}` is missing")
            take(number)
            number += 1

    def _member(self, found: dict[str, Any], path: Path) -> None:
        self._skip()
        line, name = self._line(), self._scalar()
        if not isinstance(name, str):
            self._fail("a name must be a text in double quotes")
        if name in found:
            self._fail(f"{name[:40]!r} stands twice")
        if not self._passed(":"):
            self._fail("`:` is missing")
        self._lines[(*path, name)] = line
        found[name] = self._value((*path, name))

    def _scalar(self) -> Any:
        try:
            value, self._at = self._decoder.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            raise LocatedJsonError(error.lineno, f"not JSON: {error.msg}") from None
        except (ValueError, ArithmeticError):
            self._fail("not a number")
        return value

    def _passed(self, character: str) -> bool:
        self._skip()
        if not self._text.startswith(character, self._at):
            return False
        self._at += 1
        return True

    def _skip(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in _SPACE:
            self._at += 1

    def _line(self) -> int:
        return bisect_right(self._ends, self._at - 1) + 1 if self._at else 1

    def _fail(self, problem: str) -> NoReturn:
        raise LocatedJsonError(self._line(), f"not JSON: {problem}")


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)
