"""Shared state of the abstract run: frames, events and the interface of the interpreter."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from somatrace.check.project.source import Sources
from somatrace.check.run.cells import CALLS, CellStore, Changes
from somatrace.check.run.loader import Loader
from somatrace.check.run.values import Arguments, LocalModule, NameScope, Value, fresh

#: Enough for any handwritten startup path.
MOST_STEPS = 150_000
MOST_CALLS = 60
#: Longer lists count as unknown: one that is added to itself doubles.
MOST_ITEMS = 10_000


#: Ends that count although another path goes on.
_STAY = frozenset(["endless", "command"])


class PathEnded(Exception):  # noqa: N818 -- the end of a path is not an error
    """The path cannot continue: it returned, raised, exited the process, or never ends."""


class StepLimitReached(Exception):  # noqa: N818 -- a limit is not an error either
    """More steps than any startup needs."""


def stop_there(_: Value) -> None:
    """The `resume` of a generator under `next`: the body stops at its first yield."""


@dataclass(frozen=True, slots=True)
class CodePlace:
    """A line of a file in the tree."""

    path: str
    line: int
    column: int = 1


@dataclass(frozen=True, slots=True)
class InitCall:
    """A call to somatrace's `init_tracing` on one path."""

    place: CodePlace
    service: str | None
    content: bool
    served: bool
    conditions: tuple[CodePlace, ...]
    chain: tuple[CodePlace, ...]
    wrapped: bool = False


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """Any other relevant event, and its description."""

    place: CodePlace
    what: str
    chain: tuple[CodePlace, ...] = ()


@dataclass(frozen=True, slots=True)
class Respawn:
    """An application that uvicorn imports in child processes; perhaps, unless `certain`."""

    name: str
    place: CodePlace
    certain: bool


@dataclass(slots=True)
class EventLog:
    """The events of one run."""

    inits: list[InitCall] = field(default_factory=list)
    models: list[SeenEvent] = field(default_factory=list)
    shadows: list[SeenEvent] = field(default_factory=list)
    unreadable: dict[str, SeenEvent] = field(default_factory=dict)
    escaped: dict[int, tuple[Value, str, CodePlace]] = field(default_factory=dict)
    respawned: list[Respawn] = field(default_factory=list)
    modules: dict[str, None] = field(default_factory=dict)
    #: the classes of the applications that were served
    served: dict[str, None] = field(default_factory=dict)
    #: whether the process served, and whether it asked its user something
    serves: bool = False
    asks: bool = False


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """A place where a path ends the process or stays for good, and how often tracing had certainly and
    possibly started by then. `kind`: `endless`, `command` (the exit of one of several commands), `exit` or
    `failure`.
    """

    kind: str
    calls: tuple[int, int]


@dataclass(slots=True)
class Frame:
    """A running function body or module. A `yield` in it passes control to `resume`."""

    depth: int
    conditions: list[CodePlace]
    returns: list[tuple[Value, Changes]] = field(default_factory=list)
    resume: Callable[[Value], None] | None = None


@dataclass(slots=True)
class RunningLoop:
    """A running loop."""

    depth: int
    breaks: list[Changes] = field(default_factory=list)
    continues: list[Changes] = field(default_factory=list)


@dataclass(slots=True)
class RunningTry:
    """A running try body: the states in which it raises."""

    depth: int
    imports: bool
    exits: bool = False
    raised: list[Changes] = field(default_factory=list)
    import_failed: list[Changes] = field(default_factory=list)


class Machine(ABC):
    """State and steps of one abstract run of one process."""

    def __init__(self, loader: Loader, sources: Sources, wrappers: tuple[str, ...]) -> None:
        self.loader, self.sources, self.wrappers = loader, sources, wrappers
        self.store = CellStore()
        self.ledger = EventLog()
        self.guards: list[RunningTry] = []
        self.loops: list[RunningLoop] = []
        self.conditions: list[CodePlace] = []
        self.ends: list[ProcessEnd] = []
        #: the command that the program is given: `manage.py consume`
        self.command = ""
        #: how many threads are waited for while their functions run
        self.threads = 0
        self.chain: list[CodePlace] = []
        self.steps = 0
        #: package of each module, for resolving relative imports
        self.packages: dict[str, str] = {}
        self.scopes: dict[str, NameScope] = {}
        self._made: dict[tuple[object, ...], int] = {}

    @abstractmethod
    def evaluate(self, node: ast.expr | None, scope: NameScope) -> Value:
        """The value of an expression, with its side effects."""

    @abstractmethod
    def execute(self, body: Sequence[ast.stmt], scope: NameScope) -> bool:
        """Run statements and return whether the path continues after them."""

    @abstractmethod
    def call(self, value: Value, arguments: Arguments, place: CodePlace) -> Value:
        """Call a value."""

    @abstractmethod
    def attribute(self, value: Value, name: str, place: CodePlace) -> Value:
        """An attribute of a value."""

    @abstractmethod
    def module(self, name: str, place: CodePlace | None) -> Value:
        """Import a module and its parents."""

    @abstractmethod
    def run_deferred(
        self, value: Value, place: CodePlace, resume: Callable[[Value], None] | None = None
    ) -> Value:
        """Run the body of a called generator or coroutine."""

    @abstractmethod
    def solid(self, value: Value) -> Value:
        """The value itself, resolved if it was pending."""

    @abstractmethod
    def is_lazy(self, module: LocalModule) -> bool:
        """Whether a module without effects was imported but not yet run."""

    @abstractmethod
    def wake(self, module: LocalModule) -> None:
        """Run such a module."""

    def step(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise StepLimitReached

    def place(self, node: ast.AST, scope: NameScope) -> CodePlace:
        return CodePlace(scope.module.path, getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1)

    def end(self, kind: str) -> None:
        """Record that the process ends on this path, or never leaves this line."""
        self.ends.append(ProcessEnd(kind, self.store.get(CALLS)))

    def recall(self, certain: int, possible: int) -> None:
        """Count the calls of a path that never ends beside this one, which include those before it."""
        low, high = self.store.get(CALLS)
        self.store.set(CALLS, (max(low, certain), max(high, possible)))

    def outcome(self, *, finished: bool) -> tuple[int, int]:
        """How often tracing certainly and possibly started, over all ways in which the process goes on.

        A path that exits early counts only where no path goes on: a missing setting may end any process.
        """
        ways = [end.calls for end in self.ends if end.kind in _STAY]
        if finished:
            ways.append(self.store.get(CALLS))
        for kind in ("exit", "failure"):
            ways = ways or [end.calls for end in self.ends if end.kind == kind]
        ways = ways or [self.store.get(CALLS)]
        return min(low for low, _ in ways), max(high for _, high in ways)

    def split(
        self, *alternatives: Callable[[], bool], under: CodePlace | None = None, exits_count: bool = False
    ) -> bool:
        """Run each alternative from here and join the results. False if none continues.

        The alternatives that end the process are forgotten if another continues, unless `exits_count`.
        """
        ends = []
        outer, earlier = len(self.conditions), len(self.ends)
        if under is not None:
            self.conditions.append(under)
        for alternative in alternatives:
            self.store.begin()
            try:
                alive = alternative()
            except PathEnded:
                alive = False
            except StepLimitReached:
                self.store.rollback()
                raise
            changes = self.store.rollback()
            if alive:
                ends.append(changes)
        del self.conditions[outer:]
        self.store.merge(ends)
        if exits_count:
            self._keep_exits(earlier)
        elif ends:
            self.ends[earlier:] = [end for end in self.ends[earlier:] if end.kind in _STAY]
        return bool(ends)

    def _keep_exits(self, earlier: int) -> None:
        """Count exits as a way in which the process goes on: each is the end of a command."""
        kept = (replace(end, kind="command") if end.kind == "exit" else end for end in self.ends[earlier:])
        self.ends[earlier:] = list(kept)

    def perhaps(self, action: Callable[[], object], under: CodePlace | None) -> None:
        """Run an action that happens only on some paths. Raises PathEnded only if both alternatives end."""

        def done() -> bool:
            action()
            return True

        if not self.split(done, lambda: True, under=under):
            raise PathEnded

    def items(self, values: tuple[Value, ...] | None) -> int:
        """Store the elements of a new list and return its number."""
        ident = fresh()
        self.hold(ident, values)
        return ident

    def hold(self, ident: int, values: tuple[Value, ...] | None) -> None:
        """Store the elements of a list; None if unknown."""
        self.store.set((ident, "items"), None if values is None or len(values) > MOST_ITEMS else values)

    def elements(self, ident: int) -> tuple[Value, ...] | None:
        """The elements of a list; None if unknown."""
        found = self.store.get((ident, "items"))
        return found if isinstance(found, tuple) else None
