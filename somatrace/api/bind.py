"""`bind` and `bound`: for whom the work in a block is done."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token

from opentelemetry import trace

from somatrace.context.context_decorator import ContextDecorator, T, made_inside
from somatrace.context.span_state import state_of
from somatrace.context.tags import Scalar, Tags, current, usable


class bind(ContextDecorator):  # noqa: N801 - reads as the verb it is: `with bind(tenant_id="acme"):`
    """Tags for every span started in a block, or in each call of the function it decorates.

    Inner tags are added to outer ones and win; None takes a tag away. Values are short strings
    (200 characters), numbers or booleans. A tag that cannot be used is left out with one log line:
    tracing never raises into the program. Instead of a tenant that cannot be used none is bound, and
    not the one of a block around.

    Inside a generator, use the decorator: a with-block around a `yield` is also seen by the
    consumer between the steps.
    """

    def __init__(self, /, **tags: Scalar | None) -> None:
        super().__init__()
        self._tags = usable(tags)

    def __enter__(self) -> None:
        self._enter()

    async def __aenter__(self) -> None:
        self._enter()

    def _open(self) -> BindScope:
        return BindScope(current.get().binding(**self._tags))


class BindScope:
    """The scope of one `bind`."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags
        self._token: Token[Tags] | None = None

    def attach(self) -> None:
        self._token = current.set(self._tags)
        label_root(self._tags)

    def detach(self) -> None:
        token, self._token = self._token, None
        if token is not None:
            try:
                current.reset(token)
            except ValueError:
                pass  # finished in another context than it was entered in, where nothing of it is set

    def create_inside(self, make: Callable[[], T]) -> T:
        return made_inside(self, make)

    def is_current(self) -> bool:
        return current.get() is self._tags

    def end(self, error: BaseException | None) -> None:
        """Tags end with the block, whatever ended it."""


def bound() -> dict[str, Scalar]:
    """The tags bound here, as a new dict."""
    return dict(current.get())


def label_root(tags: Tags) -> None:
    """Show a tenant bound inside an open local root span on that root too, for grouping."""
    if tags.tenant is None:
        return
    state = state_of(trace.get_current_span())
    if state is not None:
        state.root.labelled(tags)
