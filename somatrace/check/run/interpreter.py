"""Abstract interpreter that imports modules, calls values and looks up attributes."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from somatrace.check.project.source import UnparsableError
from somatrace.check.run import calls, expressions, externals, statements
from somatrace.check.run.loader import FoundModule
from somatrace.check.run.machine import CodePlace, Machine, PathEnded, SeenEvent
from somatrace.check.run.names import fail_import
from somatrace.check.run.values import (
    UNBOUND,
    UNKNOWN,
    Arguments,
    Bound,
    Class,
    Command,
    Const,
    Deferred,
    Either,
    External,
    Function,
    Instance,
    Items,
    LocalModule,
    NameScope,
    Partial,
    Pending,
    Super,
    Value,
    is_init_tracing,
)

_LIST_METHODS = {"append", "extend", "insert"}


class Interpreter(Machine):
    """Runs one process as far as its startup can be followed."""

    def evaluate(self, node: ast.expr | None, scope: NameScope) -> Value:
        return expressions.evaluate(self, node, scope)

    def execute(self, body: Sequence[ast.stmt], scope: NameScope) -> bool:
        return statements.execute(self, body, scope)

    def run_deferred(
        self, value: Value, place: CodePlace, resume: Callable[[Value], None] | None = None
    ) -> Value:
        return calls.deferred(self, value, place, resume)

    def solid(self, value: Value) -> Value:
        return (
            self.attribute(value.module, value.name, CodePlace("", 0))
            if isinstance(value, Pending)
            else value
        )

    def call(self, value: Value, arguments: Arguments, place: CodePlace) -> Value:
        self.step()
        value = self.solid(value)
        if is_init_tracing(value) or self._wraps(value):
            return calls.init(self, arguments, place, wrapped=not is_init_tracing(value))
        if isinstance(value, Function):
            return calls.function(self, value, arguments, place)
        if isinstance(value, External):
            return externals.call(self, value, arguments, place)
        if isinstance(value, Either):
            return calls.either(self, value.options, arguments, place)
        if isinstance(value, Class):
            return self._construct(value, arguments, place)
        return self._call_rarer(value, arguments, place)

    def _wraps(self, value: Value) -> bool:
        """Whether a value is a configured wrapper: another package's function that calls `init_tracing`."""
        return isinstance(value, External) and any(
            value.path == wrapper or value.path.startswith(f"{wrapper}.") for wrapper in self.wrappers
        )

    def _call_rarer(self, value: Value, arguments: Arguments, place: CodePlace) -> Value:
        if isinstance(value, Bound):
            if isinstance(value.function, External):
                return externals.method(self, value, arguments, place)
            return calls.bound(self, value, arguments, place)
        if isinstance(value, Partial):
            return calls.partial(self, value, arguments, place)
        if isinstance(value, Command):
            return calls.command(self, value, place)
        if isinstance(value, Instance):
            method = calls.lookup(self, value.cls, "__call__")
            if method is not None:
                return self.call(Bound(method, value), arguments, place)
        externals.escape(self, arguments, "a call that cannot be followed", place)
        return UNKNOWN

    def _construct(self, value: Class, arguments: Arguments, place: CodePlace) -> Value:
        for base in calls.foreign_bases(value):
            externals.note_model(self, External(base), arguments, place)
        return calls.construct(self, value, arguments, place)

    def attribute(self, value: Value, name: str, place: CodePlace) -> Value:
        if isinstance(value, LocalModule):
            return self._module_attribute(value, name)
        if isinstance(value, External):
            root = value.root()
            path = f"{value.path}.{name}"
            held = self.store.get((root.ident or "", path))
            return held if isinstance(held, Value) and held is not UNBOUND else value.attribute(name)
        if isinstance(value, Instance):
            return self._instance_attribute(value, name, place)
        if isinstance(value, Class):
            found = calls.lookup(self, value, name)
            return found if found is not None else self._foreign(value, 0, name)
        if isinstance(value, Super):
            method = calls.lookup(self, value.me.cls, name, after=value.cls)
            return (
                Bound(method, value.me)
                if method is not None
                else self._foreign(value.cls, value.me.ident, name)
            )
        if isinstance(value, Items) and name in _LIST_METHODS:
            return Bound(External(f"list.{name}"), value)
        if isinstance(value, Deferred | Command | Const):
            return Bound(External(f"{type(value).__name__.lower()}.{name}"), value)
        return UNKNOWN

    def _module_attribute(self, value: LocalModule, name: str) -> Value:
        scope = self.scopes[value.name]
        held = self.store.get((scope.ident, name))
        if held is None and self.is_lazy(value):
            self.wake(value)
            held = self.store.get((scope.ident, name))
        return held if isinstance(held, Value) and held is not UNBOUND else UNKNOWN

    def _instance_attribute(self, value: Instance, name: str, place: CodePlace) -> Value:
        held = self.store.get((value.ident, name))
        if isinstance(held, Value) and held is not UNBOUND:
            return held
        found = calls.lookup(self, value.cls, name)
        if found is None:
            return self._foreign(value.cls, value.ident, name)
        if not isinstance(found, Function | Bound | External | Partial):
            # an unreadable base class (settings from the environment) determines plain values
            return UNKNOWN if calls.foreign_bases(value.cls) else found
        if isinstance(found, Function):
            return self._method(found, value, place)
        return found

    def _method(self, found: Function, value: Instance, place: CodePlace) -> Value:
        marks = {decorator.id for decorator in _decorators(found) if isinstance(decorator, ast.Name)}
        if "property" in marks or "cached_property" in marks:
            return self.call(Bound(found, value), Arguments(), place)
        if "staticmethod" in marks:
            return found
        return Bound(found, value.cls if "classmethod" in marks else value)

    def _foreign(self, cls: Class, ident: int, name: str) -> Value:
        bases = calls.foreign_bases(cls)
        return External(f"{bases[0]}().{name}", ident) if bases else UNKNOWN

    # -- modules ----------------------------------------------------------------------------------

    def module(self, name: str, place: CodePlace | None) -> Value:
        parts = name.split(".")
        value: Value = UNKNOWN
        for length in range(1, len(parts) + 1):
            prefix = ".".join(parts[:length])
            found = self.loader.find(prefix)
            if found is None:
                if length > 1 and isinstance(value, LocalModule):
                    return UNKNOWN
                if parts[0] == "somatrace":
                    fail_import(self)
                return External(name)
            value = self.load(found, place)
        return value

    def load(self, found: FoundModule, place: CodePlace | None, name: str | None = None) -> LocalModule:
        """Run a module unless this process already has. Raises PathEnded if it ends the process."""
        module = LocalModule(name or found.name, found.path)
        if self.store.get((f"module {module.name}", "state")) is not None:
            return module
        self.store.set((f"module {module.name}", "state"), UNKNOWN)
        scope = self.scopes.setdefault(module.name, NameScope("module", module))
        self.packages[module.name] = found.package
        self.store.set((scope.ident, "__name__"), Const(module.name))
        self._tell_parent(found, module)
        if not found.path:
            return module
        self.ledger.modules[found.path] = None
        if name is None and self.loader.quiet(found):
            self.store.set((f"module {module.name}", "lazy"), UNKNOWN)
        else:
            self._run(module, scope, place)
        return module

    def _tell_parent(self, found: FoundModule, module: LocalModule) -> None:
        parent, _, last = found.name.rpartition(".")
        if parent in self.scopes and module.name == found.name:
            self.store.set((self.scopes[parent].ident, last), module)

    def _run(self, module: LocalModule, scope: NameScope, place: CodePlace | None) -> None:
        try:
            tree = self.sources.parse(module.path)
        except UnparsableError as error:
            here = CodePlace(module.path, error.line)
            self.ledger.unreadable.setdefault(module.path, SeenEvent(here, error.reason, tuple(self.chain)))
            return
        loops, self.loops = self.loops, []
        self.chain.append(place or CodePlace(module.path, 1))
        try:
            alive = self.execute(tree.body, scope)
        finally:
            self.chain.pop()
            self.loops = loops
        if not alive:
            raise PathEnded

    def is_lazy(self, module: LocalModule) -> bool:
        return self.store.get((f"module {module.name}", "lazy"), UNBOUND) is not UNBOUND

    def wake(self, module: LocalModule) -> None:
        if self.is_lazy(module):
            self.store.set((f"module {module.name}", "lazy"), UNBOUND)
            try:
                self._run(module, self.scopes[module.name], None)
            except PathEnded:
                return


def _decorators(function: Function) -> list[ast.expr]:
    return getattr(function.node, "decorator_list", [])
