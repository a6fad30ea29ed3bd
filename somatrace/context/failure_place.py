"""Where an exception was raised: the types of its chain and the program's own frames, without any text.

The result has one line for each exception, and below it one for each frame, the innermost first:

    services.orders.MissingOrder
      at services.orders:Orders.find:42
      at services.api:answer:17
    caused by KeyError
      at services.store:get:9
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Final, NamedTuple

from somatrace.runtime.own_code import is_own_code
from somatrace.runtime.type_names import is_module_name, is_qualified_name, qualified_type_name

MAX_FRAMES: Final = 20
MAX_EXCEPTIONS: Final = 16
#: Frames read in all. A deep recursion has many; following one takes about 0.1 microseconds.
_MAX_READ: Final = 20_000

CAUSE: Final = "caused by "
CONTEXT: Final = "while handling "
MEMBER: Final = "with "

# Read through the base classes' descriptors: a subclass can override the attributes.
cause_of: Final = BaseException.__dict__["__cause__"].__get__
context_of: Final = BaseException.__dict__["__context__"].__get__
_suppressed: Final = BaseException.__dict__["__suppress_context__"].__get__
_traceback: Final = BaseException.__dict__["__traceback__"].__get__
members_of: Final = BaseExceptionGroup.__dict__["exceptions"].__get__


class RaisedException(NamedTuple):
    """One exception of a chain: its relation to the one above, its type, and its frames, innermost first."""

    relation: str
    type: str
    frames: list[str]


def failure_place(error: BaseException) -> str:
    """Where `error` and the exceptions it was raised from come from. Runs no code of theirs, keeps none."""
    chain: list[RaisedException] = []
    seen: set[int] = set()
    left = [_MAX_READ]
    waiting = [("", error)]
    while waiting and len(chain) < MAX_EXCEPTIONS:
        relation, one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        chain.append(RaisedException(relation, qualified_type_name(one), _frames(_traceback(one), left)))
        waiting.extend(_related(one))
    return rendered(chain)


def _related(error: BaseException) -> list[tuple[str, BaseException]]:
    """The exceptions that belong to one, the first to read last."""
    found: list[tuple[str, BaseException]] = []
    if (cause := cause_of(error)) is not None:
        found.append((CAUSE, cause))
    elif (context := context_of(error)) is not None and not _suppressed(error):
        found.append((CONTEXT, context))
    if issubclass(type(error), BaseExceptionGroup):
        found.extend((MEMBER, member) for member in reversed(members_of(error)[:MAX_EXCEPTIONS]))
    return found


def _frames(entry: TracebackType | None, left: list[int]) -> list[str]:
    """The last of the program's own frames, innermost first; a run of equal ones once."""
    kept: deque[TracebackType] = deque(maxlen=MAX_FRAMES)
    code, instruction, own = None, -1, False
    while entry is not None and left[0] > 0:
        left[0] -= 1
        frame, before = entry.tb_frame, instruction
        instruction = entry.tb_lasti
        if frame.f_code is not code:
            code = frame.f_code
            own = is_own_code(code.co_filename, frame.f_globals)
            before = -1
        if own and instruction != before:  # equal in a function that calls itself
            kept.append(entry)
        entry = entry.tb_next
    return [_frame(entry) for entry in reversed(kept)]


def _frame(entry: TracebackType) -> str:
    frame = entry.tb_frame
    return frame_line(dict.get(frame.f_globals, "__name__"), frame.f_code.co_qualname, entry.tb_lineno)


def frame_line(module: object, function: object, line: int | None) -> str:
    """A frame; `?` for a name that does not have the form of an identifier."""
    names = _names(module if type(module) is str else "", function if type(function) is str else "")
    return f"{names}:{line or 0}"


@functools.lru_cache(maxsize=1024)
def _names(module: str, function: str) -> str:
    shown = module if is_module_name(module) else "?"
    return f"{shown}:{function if is_qualified_name(function) else '?'}"


def rendered(chain: Iterable[RaisedException]) -> str:
    """The chain as text, with at most `MAX_FRAMES` frames: the innermost of each exception."""
    chain = list(chain)[:MAX_EXCEPTIONS]
    while sum(len(one.frames) for one in chain) > MAX_FRAMES:
        max(chain, key=lambda one: len(one.frames)).frames.pop()
    lines = [(one.relation + one.type, *(f"  at {frame}" for frame in one.frames)) for one in chain]
    return "\n".join(itertools.chain.from_iterable(lines))
