"""The modules that the program has imported."""

from __future__ import annotations

import sys
from types import ModuleType


def modules_of(package: str) -> list[tuple[str, ModuleType]]:
    """The loaded modules of a package, by name.

    A list of the items would not do: it allocates, so the garbage collector and with it finalizers and
    other threads may run meanwhile, and import. A copy of the dictionary is made in one step.
    """
    loaded = sys.modules.copy()
    return [
        (name, module) for name, module in loaded.items() if name == package or name.startswith(package + ".")
    ]
