"""Attach tags and trace context together, and detach them together, in any order of blocks."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from somatrace.context.collector_safety import changing
from somatrace.context.exception_origins import Origin, origins
from somatrace.context.open_blocks import Block, blocks_from
from somatrace.context.span_state import state_of
from somatrace.context.tags import Tags, current, layers
from somatrace.runtime.fail_safe import fail_safe

#: The innermost block that has attached a trace context, in that context and those derived from it.
_BLOCK: Final = otel_context.create_key("somatrace-block")


class ContextTokens(Block):
    """Tags and, optionally, a trace context that are current from creation until `detach`."""

    #: The origin of an exception that was being handled before: it does not come from this work.
    _handled: Origin | None = None
    _context: Context | None = None
    #: The trace context to return to, weakly once the block is closed.
    _below: Context | weakref.ref[Context] | None = None

    def __init__(
        self, tags: Tags, context: Context | None = None, over: Callable[[Tags], Tags] | None = None
    ) -> None:
        self._over = over
        self.begin(tags)
        if context is not None:
            self.own(Context(context))

    def begin(self, tags: Tags) -> None:
        """Make the tags current."""
        self._tags = tags
        handled = sys.exception()
        if handled is not None:
            self._handled = _origin_of(handled)
        Block.open(self)

    def own(self, context: Context) -> None:
        """Make `context` current too, if it was not known at creation. It is new, and only of this block."""
        # in a tuple, which every context made from this one refers to; a context refuses to be changed later
        dict.__setitem__(context, _BLOCK, (self,))
        self._below = otel_context.get_current()
        self._context = context
        otel_context.attach(context)

    def detach(self) -> None:
        """End the block: what is current then is that of the blocks that are still open in this context.

        Does nothing else in a context where it was not attached; in its own one, it is no longer current.
        """
        error = sys.exception()
        if error is not None:
            with fail_safe("exception"):
                if self._handled is None or origins.of(error) is not self._handled:
                    origins.note(error, self._tenant())
        self._ended = True
        self.close()
        self._context = None

    def open(self) -> None:
        super().open()
        if self._context is not None:  # after a suspension
            self._below = otel_context.get_current()
            otel_context.attach(self._context)

    def close(self) -> bool:
        if self._context is None:
            return Block.close(self)
        opening = self.opening
        token = None if opening is None else opening.token
        here = Block.close(self)
        if here:
            attached = otel_context.get_current()
            own = attached is self._context
            if own:
                found = self.below()
                found = _open_part(found) if _BLOCK in found else found
            else:
                found = _open_part(attached, closing=self)
            if found is not attached:
                otel_context.attach(found)
            attached = found
            if own and self._is_unshared():
                self._below = None
                return here
            if opening is not None and not opening.strayed:
                opening.remember_home(token)  # OpenTelemetry's own blocks may return to it
        if isinstance(self._below, Context):
            self._below = weakref.ref(self._below)
        return here

    def _is_unshared(self) -> bool:
        """Whether nothing can return to the context, or one made from it: that of most blocks, once left."""
        return (
            sys.getrefcount(self._context) <= _OWN and sys.getrefcount(self._context[_BLOCK]) <= _OWN  # type: ignore[index]
        )

    def below(self) -> Context:
        """The trace context that was current before, or that of the innermost open block if it is gone."""
        found = self._below() if isinstance(self._below, weakref.ref) else self._below
        if found is not None:
            return found
        contexts = (block._context for block in blocks_from(layers.get()) if isinstance(block, ContextTokens))
        return next((context for context in contexts if context is not None), _EMPTY)

    def _tenant(self) -> str | None:
        if self._tags.names_tenant:
            return self._tags.tenant
        return _tenant_of(open_context() if self._context is None else self._context)


_EMPTY: Final = Context()
#: References to an object with one owner: the owner's, and that of the question.
_OWN: Final = 2


def open_context() -> Context:
    """The current trace context; that of an enclosing block in place of one whose block has ended.

    OpenTelemetry's own blocks return to the context that was current when they began.
    """
    context = otel_context.get_current()
    return _open_part(context) if _BLOCK in context else context


def leave_closed_blocks() -> Context:
    """Make `open_context` the current one, and return it."""
    attached = otel_context.get_current()
    if _BLOCK not in attached:
        return attached
    found = _open_part(attached)
    if found is not attached:
        changing()
        otel_context.attach(found)
    return found


def tenant_in_force() -> str | None:
    """The tenant of the work in this context: the bound one, else that of the current span."""
    tags = current.get()
    return tags.tenant if tags.names_tenant else _tenant_of(open_context())


def _open_part(context: Context, closing: ContextTokens | None = None) -> Context:
    entry = context.get(_BLOCK)
    while isinstance(entry, tuple):
        block: ContextTokens = entry[0]
        if block is not closing and (block.opening is None or not block.opening.was_closed_here()):
            break
        context = block.below()
        entry = context.get(_BLOCK)
    return context


def _tenant_of(context: Context) -> str | None:
    state = state_of(trace.get_current_span(context))
    return state.tags.tenant if state is not None else None


def _origin_of(handled: BaseException) -> Origin | None:
    """The origin of an exception that is being handled: without one yet, it comes from the enclosing work."""
    with fail_safe("exception"):
        origins.note_new(handled, tenant_in_force())
        return origins.of(handled)
    return None
