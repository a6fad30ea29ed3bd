"""Waiting for the imports of the program: a library is instrumented when it is loaded, never by us."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType

import wrapt

from somatrace.instruments.coverage import ON, WAITING, Coverage


def when_imported(
    module: str,
    coverage: Coverage,
    function: Callable[[ModuleType], str | None],
    *,
    library: str = "",
) -> None:
    """Call `function(module)` once: now if `module` is loaded, else right after the program imports it.

    Nothing is imported here. What `function` returns is what `status()` says of `library` (by default
    the top-level package of `module`): None means it is on. An exception goes to `coverage.failed`,
    never into the program's import.
    """
    name = library or module.partition(".")[0]
    once = threading.Lock()

    def instrument(loaded: ModuleType) -> None:
        if not once.acquire(blocking=False):
            return
        try:
            coverage.set(name, function(loaded) or ON)
        except Exception as error:
            coverage.failed(name, error)

    coverage.set(name, WAITING)
    try:
        wrapt.register_post_import_hook(instrument, module)
    except Exception as error:
        coverage.failed(name, error)
