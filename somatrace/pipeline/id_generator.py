"""Span and trace ids from a generator of our own.

The SDK draws ids from the program's global `random`: with a seed set, tracing changes what the
program computes, and forked children repeat each other's ids.
"""

from __future__ import annotations

import os
import random

from opentelemetry.sdk.trace.id_generator import IdGenerator


class PrivateIdGenerator(IdGenerator):
    """Ids from a generator seeded by the system, and seeded again in every forked child."""

    def __init__(self) -> None:
        self._random = random.Random()  # noqa: S311 - ids are no secrets
        self._seed()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._seed)

    def _seed(self) -> None:
        self._random.seed(os.urandom(32))

    def generate_span_id(self) -> int:
        while not (found := self._random.getrandbits(64)):
            pass
        return found

    def generate_trace_id(self) -> int:
        while not (found := self._random.getrandbits(128)):
            pass
        return found

    def is_trace_id_random(self) -> bool:
        """Sets the W3C random flag: the low 56 bits are random, as samplers downstream rely on."""
        return True
