"""`bind` and `bound`: tag the work in a block with its tenant and other identifiers."""

from __future__ import annotations

import functools
from collections.abc import Callable

from opentelemetry import trace

from somatrace.context.context_decorator import ContextDecorator, T, create_attached
from somatrace.context.context_tokens import ContextTokens, open_context
from somatrace.context.exception_origins import origins
from somatrace.context.span_state import state_of
from somatrace.context.tags import Scalar, Tags, current, usable
from somatrace.runtime.fail_safe import fail_safe


class bind(ContextDecorator):  # noqa: N801 - reads as the verb it is: `with bind(tenant_id="acme"):`
    """Tags for every span started in a block, or in each call of the function it decorates.

    Inner tags are added to outer ones and override them; None removes a tag. Values are short strings
    (200 characters), numbers or booleans; the tenant is a string. An invalid tag is skipped with one log
    line, because tracing never raises into the program.

    None or an invalid value as `tenant_id` means that the work has no tenant. It is labeled unknown, no
    content of it leaves, and no enclosing block, open span or request supplies a tenant. Only a `bind`
    that does not name `tenant_id` inherits it.

    Inside a generator, use the decorator: with a with-block around a `yield`, the consumer also sees
    the tags between the steps.
    """

    def __init__(self, /, **tags: Scalar | None) -> None:
        super().__init__()
        self._tags = usable(tags)

    def __enter__(self) -> None:
        self._enter()

    async def __aenter__(self) -> None:
        self._enter()

    def _open(self) -> BindScope:
        return BindScope(self._tags)


class BindScope:
    """The scope of one `bind`."""

    def __init__(self, tags: dict[str, Scalar | None]) -> None:
        # no method of this object: a cycle would keep a block that is never left until garbage is collected
        self._over = functools.partial(_binding, tags)
        self._below = current.get()
        self._tags = self._over(self._below)
        self._tokens: ContextTokens | None = None

    def attach(self) -> None:
        # a generator keeps the tags with which it was created, whatever blocks surround its steps
        self._tokens = ContextTokens(self._tags, over=self._over if current.get() is self._below else None)
        label_root(self._tags)

    def detach(self) -> None:
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            tokens.detach()

    def create_inside(self, make: Callable[[], T]) -> T:
        return create_attached(self, make)

    def end(self, error: BaseException | None) -> None:
        """Note which tenant's work the exception comes from; the tags end with the block."""
        if error is not None and self._tags.names_tenant:
            with fail_safe("bind"):
                origins.note(error, self._tags.tenant)


def _binding(given: dict[str, Scalar | None], below: Tags) -> Tags:
    return below.binding(**given)


def bound() -> dict[str, Scalar]:
    """The tags of the current context, as a new dict."""
    return dict(current.get())


def label_root(tags: Tags) -> None:
    """Show a tenant bound inside an open local root span on the root as well, for grouping."""
    state = state_of(trace.get_current_span(open_context()))
    if state is not None:
        state.root.set_label(tags)
