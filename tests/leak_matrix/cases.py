"""The cases of the client that this process runs, and the server that they call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from tests.leak_matrix.canary import Planted
from tests.leak_matrix.provider import Provider

Case = Callable[[Planted], Any]
CASES: dict[str, Case] = {}
#: By case, the fields whose words an opted-in tenant's spans must hold.
SHOWN: dict[str, tuple[str, ...]] = {}
provider = Provider()


def case(*shown: str) -> Callable[[Case], Case]:
    """Register a case, and the fields whose words must be present where content is allowed."""

    def register(function: Case) -> Case:
        CASES[function.__name__] = function
        SHOWN[function.__name__] = shown
        return function

    return register


@contextlib.contextmanager
def failing() -> Iterator[None]:
    """A block that must fail, as it would without tracing."""
    try:
        yield
    except Exception:
        return
    raise SystemExit("the call should have failed")
