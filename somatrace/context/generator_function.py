"""The wrapper of decorated generator functions, loaded with the first of them: wrapt takes long to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    _FunctionWrapper = wrapt.FunctionWrapper[Any, Any]
else:
    _FunctionWrapper = wrapt.FunctionWrapper  # takes no type parameters before wrapt 2


class GeneratorFunction(_FunctionWrapper):
    """A wrapped generator function that opens its scope when called.

    `inspect` still recognizes it as one (FastAPI checks), and it pickles by name like a plain function.
    """

    def __reduce_ex__(self, protocol: object) -> str:
        return str(self.__wrapped__.__qualname__)
