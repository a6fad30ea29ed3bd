"""`bind` and `bound`: for whom the work in a block is done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import Token
from typing import Final

from opentelemetry import trace

from somatrace.harmless import harmless
from somatrace.scoped import Scoped, T, paused
from somatrace.stamp import ATTRIBUTE, Stamp
from somatrace.tags import Scalar, Tags, check_name, check_value, current

log = logging.getLogger("somatrace")
_complained: Final[set[str]] = set()


class bind(Scoped):  # noqa: N801 - reads as the verb it is: `with bind(tenant_id="acme"):`
    """Tags for every span started in a block, or in each call of the function it decorates.

    Inner tags are added to outer ones and win; None takes a tag away. Values are short strings
    (200 characters), numbers or booleans. A tag that cannot be used is left out with one log line:
    tracing never raises into the program.

    Inside a generator, use the decorator: a with-block around a `yield` is also seen by the
    consumer between the steps.
    """

    def __init__(self, /, **tags: Scalar | None) -> None:
        super().__init__()
        self._tags = {name: value for name, value in tags.items() if _usable(name, value)}

    def __enter__(self) -> None:
        self._enter()

    async def __aenter__(self) -> None:
        self._enter()

    def _open(self) -> Binding:
        base = current.get()
        try:
            return Binding(base.binding(**self._tags))
        except ValueError as error:
            _complain("bind", error)
            return Binding(base)


class Binding:
    """The scope of one `bind`."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags
        self._token: Token[Tags] | None = None

    def resume(self) -> None:
        self._token = current.set(self._tags)
        label_root(self._tags)

    def pause(self) -> None:
        token, self._token = self._token, None
        if token is not None:
            try:
                current.reset(token)
            except ValueError:
                pass  # finished in another context than it was entered in, where nothing of it is set

    def making(self, make: Callable[[], T]) -> T:
        return paused(self, make)

    def here(self) -> bool:
        return current.get() is self._tags

    def finish(self, error: BaseException | None) -> None:
        """Tags end with the block, whatever ended it."""


def bound() -> dict[str, Scalar]:
    """The tags bound here, as a new dict."""
    return dict(current.get())


def label_root(tags: Tags) -> None:
    """Show a tenant bound inside an open local root span on that root too, for grouping."""
    if tags.tenant is None:
        return
    stamp: Stamp | None = getattr(trace.get_current_span(), ATTRIBUTE, None)
    if stamp is not None:
        stamp.root.labelled(tags)


def _usable(name: str, value: object) -> bool:
    with harmless("bind"):  # a value may be anything, and fail when it is looked at
        try:
            if value is not None:
                check_name(name)
                check_value(name, value)
        except ValueError as error:
            _complain(name, error)
        else:
            return True
    return False


def _complain(what: str, error: ValueError) -> None:
    """One line per tag name, at most 100 names: bad tags come in floods."""
    if what not in _complained and len(_complained) < 100:
        _complained.add(what)
        log.warning("tag left out: %s", error)
