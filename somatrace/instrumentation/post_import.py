"""Call hooks after the imports of modules, and load wrapt, which does that, with the first of these.

wrapt takes as long to import as a third of somatrace, since it imports asyncio.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

Hook = Callable[[ModuleType], Any]


def register(hook: Hook, name: str) -> None:
    """Call `hook` with the module `name`: now if it is loaded, else right after its import."""
    module = sys.modules.get(name)
    if module is not None:
        hook(module)
    elif not _waiting.add(hook, name):
        import wrapt

        wrapt.register_post_import_hook(hook, name)


class _WaitingHooks:
    """A finder that keeps hooks until the first of their modules is imported, and passes the others to wrapt.

    Nothing is imported while a module is looked for: Python holds its one import lock meanwhile, and another
    thread that imports, too, would wait for that lock with the lock of a module.

    It stays in `sys.meta_path`, since a thread that is looking for a module would skip the finder after one
    that is removed.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._hooks: dict[str, list[Hook]] = {}
        self._is_found = False

    def add(self, hook: Hook, name: str) -> bool:
        """Keep a hook; False if wrapt is loaded."""
        with self._lock:
            if "wrapt" in sys.modules:
                return False
            if not self._is_found:
                sys.meta_path.insert(0, self)
                self._is_found = True
            self._hooks.setdefault(name, []).append(hook)
            return True

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module as the finders behind this one find it; None if no hook waits for it."""
        if name not in self._hooks:
            return None
        finders = list(sys.meta_path)
        behind = finders[finders.index(self) + 1 :] if self in finders else []
        for finder in behind:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find is None else find(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _HookedLoader(spec.loader, self)  # type: ignore[assignment]
                return spec
        return None

    def pass_on(self) -> None:
        """Give wrapt the hooks of all modules but those that are being imported."""
        import wrapt  # not with the lock: the import of a module waits for other threads

        loaded: list[tuple[Hook, ModuleType]] = []
        waiting: list[tuple[Hook, str]] = []
        with self._lock:
            for name in list(self._hooks):
                module = sys.modules.get(name)
                if module is None:
                    waiting += [(hook, name) for hook in self._hooks.pop(name)]
                elif not getattr(getattr(module, "__spec__", None), "_initializing", False):
                    loaded += [(hook, module) for hook in self._hooks.pop(name)]
        # not with the lock: wrapt calls the hooks of what another thread has imported meanwhile
        for hook, name in waiting:
            wrapt.register_post_import_hook(hook, name)
        for hook, module in loaded:
            hook(module)

    def take(self, name: str) -> list[Hook]:
        """The hooks of a module, which wait no longer."""
        with self._lock:
            return self._hooks.pop(name, [])


class _HookedLoader:
    """Loads a module as `loader` does, which the module has as its own, and calls its hooks."""

    def __init__(self, loader: Any, waiting: _WaitingHooks) -> None:
        self._loader = loader
        self._waiting = waiting

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        spec = getattr(module, "__spec__", None)
        if getattr(spec, "loader", None) is self:
            spec.loader = self._loader  # type: ignore[union-attr]
        if getattr(module, "__loader__", None) is self:
            with contextlib.suppress(AttributeError):
                module.__loader__ = self._loader
        self._waiting.pass_on()
        self._loader.exec_module(module)
        for hook in self._waiting.take(module.__name__):
            hook(module)
        import wrapt

        wrapt.notify_module_loaded(module)  # what another import has passed on before this one began


_waiting: Final = _WaitingHooks()
