"""What a process says of its spans at its end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

log = logging.getLogger("somatrace")

#: Reasons of losses that are not worth a line.
_INTENDED: Final = frozenset({"not_sampled", "over_budget", "no_target"})


def say_what_remains(left: int, lost: Mapping[str, int], *, in_time: bool) -> None:
    """Log how many spans are left to the next process, and how many were lost, by reason."""
    counted = {reason: spans for reason, spans in lost.items() if spans and reason not in _INTENDED}
    with suppress(Exception):  # a handler, or a clock that the program has replaced, may raise
        if left:
            level = logging.INFO if in_time else logging.WARNING
            todo = "the next start of this service or `somatrace drain` sends them"
            log.log(level, "unsent spans on disk: %d; %s", left, todo)
        if counted:
            reasons = ", ".join(f"{reason} {spans}" for reason, spans in sorted(counted.items()))
            log.warning("spans lost by this process: %d (%s)", sum(counted.values()), reasons)
