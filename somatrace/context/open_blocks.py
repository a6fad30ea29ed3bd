"""The blocks that are open in a context, in the order in which they were entered.

Blocks may end in any order: a `with` block around the `yield` of a generator ends when the generator is
closed, anywhere. So leaving a block takes that block away and keeps the others, whereas the token of a
context variable would bring back what was current before it, also if that has ended since.

A task or thread that copies the context keeps the blocks that were open then.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, ContextVar, Token
from typing import Any, Final

from somatrace.context.collector_safety import changing, context_variable
from somatrace.context.tags import EMPTY, Tags, layers

#: Makes tokens, which tell whether code runs in the context that they were made in.
_here: Final[ContextVar[None]] = context_variable("somatrace_here", None)
#: Layers looked at when one is added.
_MAX_SHORTENED: Final = 32


class Opening:
    """One time that a block is open, from `open` to `close`."""

    # the defaults are those of the class, because one is made for each block

    #: While it is open, tells whether code runs in the context in which it was opened.
    token: Token[Any] | None = None
    #: Afterwards, that context.
    _home: weakref.ref[Context] | None = None
    is_open = True
    #: Whether it was closed in another context, so that it may still be in force at home.
    strayed = False

    def close(self, *, may_come_back: bool) -> bool:
        """End it; return whether this is the context in which it began. There, `layers` is what it was.

        `may_come_back`: in the garbage collector, code that it has interrupted may set `layers` again.
        """
        token, self.token = self.token, None
        self.is_open = False
        if token is None:
            return False
        try:
            layers.reset(token)
        except ValueError:
            self.strayed = _strays.exist = True
            self._home = _context_of(token)
            return False
        if may_come_back:
            self.strayed = _strays.exist = True
            self._home = _context_of(token)
        return True

    def forget_home(self) -> None:
        """Stop keeping the context alive, once nothing can close this any more."""
        self.token = None

    def remember_home(self, token: Token[Any] | None) -> None:
        """Let `was_closed_here` recognize the context of its token, or the current one without a token."""
        if token is None:
            changing()
            token = _here.set(None)
        self._home = _context_of(token)

    def was_closed_here(self) -> bool:
        """Whether it has been closed, wherever that was, and began in the current context."""
        if self.is_open or self._home is None:
            return False
        changing()
        here = _context_of(_here.set(None))
        return here is not None and here() is self._home()


class Block:
    """One block in one context. `over` makes its tags from those of the blocks below it; otherwise it has
    `tags`, whatever is below."""

    opening: Opening | None = None
    _over: Callable[[Tags], Tags] | None = None
    #: Whether it has ended, and is not only suspended.
    _ended = False

    def __init__(self, tags: Tags, over: Callable[[Tags], Tags] | None = None) -> None:
        self._tags = tags
        self._over = over

    def tags_over(self, below: Tags) -> Tags:
        """The tags in force inside the block, over those of the blocks below it."""
        return self._tags if self._over is None else self._over(below)

    def open(self) -> None:
        """Put the block on top of those that are open in this context."""
        opening = self.opening = Opening()
        below = layers.get()
        if below is not None:
            below.shorten()
        changing()
        opening.token = layers.set(_layer(self, opening, below, self._tags))

    def close(self) -> bool:
        """Take the block away, wherever it is among the open ones; return whether it was open here."""
        opening = self.opening
        if opening is None or not opening.is_open:
            return False
        collected = changing()
        layer = layers.get()
        here = opening.close(may_come_back=collected)
        if layer is not None and layer.opening is opening:
            if layers.get() is not layer.below:
                layers.set(layer.below)
            return True
        layers.set(layer)
        found = is_open_here(self)
        if found:
            layers.set(_without(layer, lambda one: one is opening))
        return here or found


class Layer(weakref.ref[Block]):
    """An open block, the ones below it, and the tags in force. Called, it returns the block.

    It does not keep the block alive: one that nothing else refers to can no longer be left. Its tags stay in
    force until a block below it is left.
    """

    __slots__ = ("below", "opening", "tags")

    opening: Opening
    below: Layer | None
    tags: Tags

    def in_force(self) -> Tags:
        """The tags in force, without those of blocks that have been closed from another context."""
        if not _strays.exist or not any(layer.opening.strayed for layer in layers_from(self)):
            return self.tags
        found = _without(self, lambda opening: opening.strayed and opening.was_closed_here())
        if found is not self:
            changing()
            layers.set(found)
        return EMPTY if found is None else found.tags

    def shorten(self) -> None:
        """Leave out those below that no block will be looked for in.

        Otherwise tasks that each start the next one would keep the blocks of all before them, and so would a
        program that enters a block for each job and leaves none.
        """
        layer: Layer | None = self
        for _ in range(_MAX_SHORTENED):
            if layer is None:
                break
            opening = layer.opening
            if not opening.is_open:
                if not opening.strayed:
                    layer.below = None  # inherited, and closed since where it was opened
            elif layer() is None:
                opening.forget_home()
                while layer.below is not None and layer.below.abandoned:
                    layer.below = layer.below.below
            layer = layer.below

    @property
    def abandoned(self) -> bool:
        """Whether the block can no longer be left."""
        return self() is None and self.opening.is_open


def _layer(block: Block, opening: Opening, below: Layer | None, tags: Tags) -> Layer:
    layer = Layer(block)
    layer.opening, layer.below, layer.tags = opening, below, tags
    return layer


class _Strays:
    """Whether a block has ever been closed from another context; until then, none is looked for."""

    exist = False


_strays: Final = _Strays()


def top_block() -> Block | None:
    """The block entered last of those open in this context."""
    layer = layers.get()
    return None if layer is None else layer()


def layers_from(layer: Layer | None) -> Iterator[Layer]:
    """The layers from `layer` down."""
    while layer is not None:
        yield layer
        layer = layer.below


def blocks_from(layer: Layer | None) -> Iterator[Block]:
    """The blocks from `layer` down that can still be left."""
    for one in layers_from(layer):
        block = one()
        if block is not None:
            yield block


def is_open_here(block: Block) -> bool:
    """Whether `block` is among those open in this context."""
    layer = layers.get()
    while layer is not None:
        if layer() is block:
            return True
        layer = layer.below
    return False


def suspend_above(block: Block | None) -> list[Block]:
    """Close the blocks entered since `block`, to open them again by `resume`."""
    above: list[Block] = []
    for one in blocks_from(layers.get()):
        if one is block:
            break
        above.append(one)
    else:
        return []
    for one in above:
        one.close()
    return above[::-1]


def resume(blocks: Iterable[Block]) -> None:
    """Open suspended blocks again, except those that have ended in the meantime."""
    for block in blocks:
        if not block._ended:
            block.open()


def _without(layer: Layer | None, gone: Callable[[Opening], bool]) -> Layer | None:
    """The layers without blocks that are gone; those above one are made again."""
    kept: Layer | None = None
    for one in reversed(list(layers_from(layer))):
        block = one()
        if gone(one.opening):
            continue
        if one.below is kept:
            kept = one
        elif block is not None:
            below = EMPTY if kept is None else kept.tags
            kept = _layer(block, one.opening, kept, block.tags_over(below))
    return kept


def _context_of(token: Token[Any]) -> weakref.ref[Context] | None:
    """The context in which a token was made. A reference to the token itself would keep everything in it."""
    for one in gc.get_referents(token):
        if type(one) is Context:
            return weakref.ref(one)
    return None
