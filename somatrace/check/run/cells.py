"""The state of an abstract run: cells whose changes can be rolled back and joined."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

from somatrace.check.run.values import UNBOUND, UNKNOWN, Value, joined

Key = tuple[Hashable, str]
Changes = dict[Key, Any]
_MISSING: Any = object()

CALLS: Key = ("#", "calls")
SERVED: Key = ("#", "served")
HOOKS: Key = ("#", "hooks")
TASKS: Key = ("#", "tasks")


@dataclass(frozen=True, slots=True)
class Hook:
    """A function that a framework calls: at startup (`startup`, `lifespan`, `worker`), or as
    a command-line command. `certain` is False if only some paths register it.
    """

    kind: str
    value: Value
    owner: int
    certain: bool = True


def _join_hooks(first: tuple[Hook, ...], second: tuple[Hook, ...]) -> tuple[Hook, ...]:
    kept = [hook if hook in second else replace(hook, certain=False) for hook in first]
    kept.extend(replace(hook, certain=False) for hook in second if hook not in first)
    return tuple(kept)


_STARTS: dict[Key, Any] = {CALLS: (0, 0), SERVED: False, HOOKS: (), TASKS: ()}
_JOINS: dict[Key, Callable[[Any, Any], Any]] = {
    CALLS: lambda first, second: (min(first[0], second[0]), max(first[1], second[1])),
    SERVED: lambda first, second: first or second,
    HOOKS: _join_hooks,
    TASKS: lambda first, second: first if len(first) > len(second) else second,
}


class CellStore:
    """Cells by (object number, name). Each open journal keeps the values its changes replaced."""

    def __init__(self) -> None:
        self._cells: Changes = dict(_STARTS)
        self._journals: list[Changes] = []

    @property
    def depth(self) -> int:
        return len(self._journals)

    def get(self, key: Key, default: Any = None) -> Any:
        return self._cells.get(key, default)

    def set(self, key: Key, value: Any) -> None:
        if self._journals:
            self._journals[-1].setdefault(key, self._cells.get(key, _MISSING))
        if value is _MISSING:
            self._cells.pop(key, None)
        else:
            self._cells[key] = value

    def cells_of(self, ident: int) -> list[tuple[str, Any]]:
        """The cells of one object, such as the names of a module."""
        return [(name, value) for (owner, name), value in self._cells.items() if owner == ident]

    def begin(self) -> int:
        """Open a journal and return the depth below it."""
        self._journals.append({})
        return len(self._journals) - 1

    def since(self, depth: int) -> Changes:
        """The changes since the journal at `depth` was opened."""
        return {key: self._cells.get(key, _MISSING) for journal in self._journals[depth:] for key in journal}

    def rollback(self) -> Changes:
        """Undo everything since the last `begin` and return the undone changes."""
        changes = self.since(len(self._journals) - 1)
        for key, old in self._journals.pop().items():
            if old is _MISSING:
                self._cells.pop(key, None)
            else:
                self._cells[key] = old
        return changes

    def commit(self) -> None:
        """Keep everything since the last `begin`."""
        last = self._journals.pop()
        if self._journals:
            for key, old in last.items():
                self._journals[-1].setdefault(key, old)

    def merge(self, ends: list[Changes]) -> None:
        """Set the joined state of several paths, each given by its changes."""
        keys = {key: None for end in ends for key in end}
        for key in keys:
            before = self._cells.get(key, _MISSING)
            self.set(key, _join(key, [end.get(key, before) for end in ends]))


def _join(key: Key, values: list[Any]) -> Any:
    result = values[0]
    join = _JOINS.get(key)
    for value in values[1:]:
        if join is not None:
            result = join(result, value)
        elif result is not value:
            result = _join_cells(result, value)
    return result


def _join_cells(first: Any, second: Any) -> Any:
    first, second = (UNBOUND if value is _MISSING else value for value in (first, second))
    if isinstance(first, Value) and isinstance(second, Value):
        return joined(first, second)
    if first == second:
        return first
    if isinstance(first, Value) and isinstance(second, tuple):
        return second if first is UNBOUND else UNKNOWN
    if isinstance(second, Value) and isinstance(first, tuple):
        return first if second is UNBOUND else UNKNOWN
    return UNKNOWN
