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
from typing import Final

from somatrace.context.tags import EMPTY, Tags, layers

#: Makes tokens, which tell whether code runs in the context that they were made in.
_here: Final[ContextVar[None]] = ContextVar("somatrace_here", default=None)


class Block:
    """One block in one context. `over` makes its tags from those of the blocks below it; otherwise it has
    `tags`, whatever is below."""

    #: While it is open, tells whether code runs in the context in which it was opened.
    _token: Token[None] | None = None
    #: Afterwards, that context.
    _home: weakref.ref[Context] | None = None
    #: Whether it was closed in another context, so that it may still be in force at home.
    _strayed = False
    #: Whether it has ended, and is not only suspended.
    _ended = False
    is_open = False

    def __init__(self, tags: Tags, over: Callable[[Tags], Tags] | None = None) -> None:
        self._tags = tags
        self._over = over

    def tags_over(self, below: Tags) -> Tags:
        """The tags in force inside the block, over those of the blocks below it."""
        return self._tags if self._over is None else self._over(below)

    def open(self) -> None:
        """Put the block on top of those that are open in this context."""
        self._token = _here.set(None)
        self.is_open = True
        below = layers.get()
        layers.set(Layer(self, below if below is None else below.shortened(), self._tags))

    def close(self) -> bool:
        """Take the block away, wherever it is among the open ones; return whether it was open here."""
        token, self._token = self._token, None
        self.is_open = False
        here = token is not None and self._leave_home(token)
        layer = layers.get()
        if layer is not None and layer.block is self:
            layers.set(layer.below)
            return True
        found = is_open_here(self)
        if found:
            layers.set(_without(layer, lambda one: one is self))
        return here or found

    def _leave_home(self, token: Token[None]) -> bool:
        try:
            _here.reset(token)
        except ValueError:
            self._strayed = _strays.exist = True
            self._home = _context_of(token)
            return False
        return True

    def remember_home(self) -> None:
        """Let `was_closed_here` recognize the current context, in which the block has been closed."""
        self._home = _context_of(_here.set(None))

    def was_closed_here(self) -> bool:
        """Whether the block has been closed, wherever that was, and was opened in the current context."""
        if self.is_open or self._home is None:
            return False
        here = _context_of(_here.set(None))
        return here is not None and here() is self._home()


class Layer:
    """An open block, the ones below it, and the tags in force."""

    __slots__ = ("below", "block", "tags")

    def __init__(self, block: Block, below: Layer | None, tags: Tags) -> None:
        self.block = block
        self.below = below
        self.tags = tags

    def in_force(self) -> Tags:
        """The tags in force, without those of blocks that have been closed from another context."""
        if not _strays.exist or not any(block._strayed for block in blocks_from(self)):
            return self.tags
        found = _without(self, lambda block: block._strayed and block.was_closed_here())
        if found is not self:
            layers.set(found)
        return EMPTY if found is None else found.tags

    def shortened(self) -> Layer:
        """These layers, with one in place of the innermost inherited block that has been closed since, and of
        those below it. Otherwise tasks that each start the next one would keep those of all before them."""
        layer: Layer | None = self
        while layer is not None:
            if not layer.block.is_open:
                if not layer.block._strayed and layer.below is not None:
                    layer.block, layer.below = Block(layer.tags), None
                break
            layer = layer.below
        return self


class _Strays:
    """Whether a block has ever been closed from another context; until then, none is looked for."""

    exist = False


_strays: Final = _Strays()


def top_block() -> Block | None:
    """The block entered last of those open in this context."""
    layer = layers.get()
    return None if layer is None else layer.block


def blocks_from(layer: Layer | None) -> Iterator[Block]:
    """The open blocks from `layer` down."""
    while layer is not None:
        yield layer.block
        layer = layer.below


def is_open_here(block: Block) -> bool:
    """Whether `block` is among those open in this context."""
    layer = layers.get()
    while layer is not None:
        if layer.block is block:
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


def _without(layer: Layer | None, gone: Callable[[Block], bool]) -> Layer | None:
    """The layers without blocks that are gone; those above one are made again."""
    all_layers = []
    while layer is not None:
        all_layers.append(layer)
        layer = layer.below
    kept: Layer | None = None
    for one in reversed(all_layers):
        if not gone(one.block):
            same = one.below is kept
            below = EMPTY if kept is None else kept.tags
            kept = one if same else Layer(one.block, kept, one.block.tags_over(below))
    return kept


def _context_of(token: Token[None]) -> weakref.ref[Context] | None:
    """The context in which a token was made. A reference to the token itself would keep everything in it."""
    found = next((one for one in gc.get_referents(token) if type(one) is Context), None)
    return None if found is None else weakref.ref(found)
