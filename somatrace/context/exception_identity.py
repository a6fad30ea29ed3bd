"""Which exception an object belongs to, without keeping the exception or its frames alive."""

from __future__ import annotations

import sys
import weakref
from typing import Any, Final

# Read through the base class's descriptor: a subclass can override the attribute.
dict_of: Final = BaseException.__dict__["__dict__"].__get__


class ExceptionIdentity:
    """Identifies one exception, also after it is gone and another one has its address.

    Built-in exceptions have no weak references. Their `__dict__`, which each has for itself, is kept in place
    of one: it leads neither to the exception nor to its frames.
    """

    __slots__ = ("_held", "_reference")

    def __init__(self, error: BaseException) -> None:
        self._held: Any = None
        self._reference: weakref.ref[BaseException] | None = None
        try:
            self._reference = weakref.ref(error)
        except TypeError:
            self._held = dict_of(error)

    def is_of(self, error: BaseException) -> bool:
        """Whether this identifies `error`."""
        if self._reference is not None:
            return self._reference() is error
        return self._held is dict_of(error)

    def is_gone(self, of_one_gone: ExceptionIdentity) -> bool:
        """Whether the exception no longer exists. `of_one_gone` is that of a built-in one that is gone."""
        if self._reference is not None:
            return self._reference() is None
        return sys.getrefcount(self._held) <= sys.getrefcount(of_one_gone._held)
