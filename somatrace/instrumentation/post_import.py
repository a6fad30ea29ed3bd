"""Call hooks after the imports of modules, and load wrapt, which does that, with the first of these.

wrapt takes as long to import as a third of somatrace, since it imports asyncio.
"""

from __future__ import annotations

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
    """A finder that passes its hooks to wrapt when the first of their modules is imported.

    It stays in `sys.meta_path`, since a thread that is looking for a module would skip the finder after one
    that is removed.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._hooks: dict[str, list[Hook]] = {}
        self._is_found = False
        self._wrapt: Any = None

    def add(self, hook: Hook, name: str) -> bool:
        """Keep a hook; False if wrapt is loaded."""
        with self._lock:
            if self._wrapt is not None or "wrapt" in sys.modules:
                return False
            if not self._is_found:
                sys.meta_path.insert(0, self)
                self._is_found = True
            self._hooks.setdefault(name, []).append(hook)
            return True

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module as wrapt finds it, which then calls the hooks; None if no hook waits for it."""
        if name not in self._hooks:
            return None
        finder = self._pass_on()
        found: ModuleSpec | None = None if finder is None else finder.find_spec(name, path, target)
        return found

    def _pass_on(self) -> Any:
        """Give all hooks to wrapt, and return its finder."""
        import wrapt  # not with the lock: the import of a module waits for other threads

        loaded: list[tuple[Hook, ModuleType]] = []
        with self._lock:
            if self._wrapt is None:
                for name, hooks in self._hooks.items():
                    module = sys.modules.get(name)
                    for hook in hooks:
                        if module is None:
                            wrapt.register_post_import_hook(hook, name)
                        else:
                            loaded.append((hook, module))
                self._wrapt = next(
                    (one for one in sys.meta_path if type(one).__module__ == "wrapt.importer"), None
                )
                self._hooks = {}
        for hook, module in loaded:
            hook(module)
        return self._wrapt


_waiting: Final = _WaitingHooks()
