"""The scope of a block that has tags, and no span."""

from __future__ import annotations

from collections.abc import Callable

from somatrace.context.context_decorator import T, create_attached
from somatrace.context.context_tokens import ContextTokens
from somatrace.context.tags import Tags, current


class TagScope:
    """Applies tags, made by `over` from those around its creation, each time it is attached."""

    def __init__(self, over: Callable[[Tags], Tags]) -> None:
        # no method of this object: a cycle would keep a block that is never left until garbage is collected
        self._over = over
        self._below = current.get()
        self._tags = over(self._below)
        self._tokens: ContextTokens | None = None

    def attach(self) -> None:
        """Make the tags the current ones."""
        # a generator keeps the tags with which it was created, whatever blocks surround its steps
        self._tokens = ContextTokens(self._tags, over=self._over if current.get() is self._below else None)

    def detach(self) -> None:
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            tokens.detach()

    def create_inside(self, make: Callable[[], T]) -> T:
        """Call `make` with the tags."""
        return create_attached(self, make)

    def end(self, _: BaseException | None) -> None:
        """Do nothing: the tags end with the block."""
