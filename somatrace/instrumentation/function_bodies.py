"""Gives functions of a loaded package another body.

The modules of an instrumentor import helpers by name from one another, so replacing a name would miss
some. The function object stays; what it does is replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any


def give_body(package: str, names: tuple[str, ...], body: Callable[..., Any]) -> None:
    """Let every function of `package` called one of `names` do what `body` does.

    `body` runs with the other function's globals: it must bring along, by importing inside, what it uses.
    """
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(package + "."):
            for function in (vars(module).get(wanted) for wanted in names):
                if isinstance(function, FunctionType) and isinstance(body, FunctionType):
                    function.__code__ = body.__code__
