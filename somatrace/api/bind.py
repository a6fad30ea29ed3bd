"""`bind` and `bound`: tag the work in a block with its tenant and other identifiers."""

from __future__ import annotations

import functools
from collections.abc import Callable

from somatrace.context.context_decorator import ContextDecorator, T, create_attached
from somatrace.context.context_tokens import ContextTokens, open_context
from somatrace.context.current_span_key import SPAN_KEY
from somatrace.context.exception_origins import origins
from somatrace.context.span_state import state_of
from somatrace.context.tag_scope import TagScope
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
        self._entered = []
        self._tags = usable(tags)

    def __enter__(self) -> None:
        block = BindBlock(self._tags)
        block.attach()
        self._entered.append((block, block))

    async def __aenter__(self) -> None:
        self.__enter__()

    def _open(self) -> BindScope:
        return BindScope(self._tags)

    def _open_once(self) -> BindBlock:
        return BindBlock(self._tags)


class BindBlock(ContextTokens):
    """The scope of one block or call, from `attach` on, and the open block itself."""

    def __init__(self, given: dict[str, Scalar | None]) -> None:
        self._given = given

    def tags_over(self, below: Tags) -> Tags:
        """The tags in force inside the block, over those of the blocks below it."""
        return below.binding(**self._given)

    def attach(self) -> None:
        """Make the tags the current ones."""
        self.begin(current.get().binding(**self._given))
        label_root(self._tags)

    def create_inside(self, make: Callable[[], T]) -> T:
        """Call `make` in the block."""
        return create_attached(self, make)

    def end(self, error: BaseException | None) -> None:
        """Note which tenant's work the exception comes from."""
        _note(error, self._tags)


class BindScope(TagScope):
    """The scope of one generator."""

    def __init__(self, given: dict[str, Scalar | None]) -> None:
        super().__init__(functools.partial(_binding, given))

    def attach(self) -> None:
        """Make the tags the current ones."""
        super().attach()
        label_root(self._tags)

    def end(self, error: BaseException | None) -> None:
        """Note which tenant's work the exception comes from."""
        _note(error, self._tags)


def _note(error: BaseException | None, tags: Tags) -> None:
    if error is not None and tags.names_tenant:
        with fail_safe("bind"):
            origins.note(error, tags.tenant)


def _binding(given: dict[str, Scalar | None], below: Tags) -> Tags:
    return below.binding(**given)


def bound() -> dict[str, Scalar]:
    """The tags of the current context, as a new dict."""
    return dict(current.get())


def label_root(tags: Tags) -> None:
    """Show a tenant bound inside an open local root span on the root as well, for grouping."""
    span = open_context().get(SPAN_KEY)
    state = None if span is None else state_of(span)
    if state is not None:
        state.root.set_label(tags)
