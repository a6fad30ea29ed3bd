"""Replace the bodies of functions in a loaded package.

The modules of an instrumentor import helpers from one another by name, so rebinding a name would miss
some. The function object stays, its code is replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from somatrace.instrumentation.loaded_modules import modules_of


def replace_body(package: str, names: tuple[str, ...], body: Callable[..., Any], **given: Any) -> None:
    """Give every function of `package` that has one of `names` the code of `body`.

    `body` runs with the other function's globals: it must import everything it uses inside, or take it as
    one of the keyword-only arguments `given`.
    """
    for _, module in modules_of(package):
        for function in (vars(module).get(wanted) for wanted in names):
            if isinstance(function, FunctionType) and isinstance(body, FunctionType):
                if given:  # first: another thread may call the function at any time
                    function.__kwdefaults__ = {**(function.__kwdefaults__ or {}), **given}
                function.__code__ = body.__code__
