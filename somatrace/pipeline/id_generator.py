"""Span and trace ids from a private random generator.

The SDK draws ids from the program's global `random`: if the program sets a seed, tracing would change
its results, and forked children would repeat each other's ids.
"""

from __future__ import annotations

import os
import random

from opentelemetry.sdk.trace.id_generator import IdGenerator


class PrivateIdGenerator(IdGenerator):
    """Ids from a generator seeded by the system, and reseeded in every forked child."""

    def __init__(self) -> None:
        self._random = random.Random()  # noqa: S311 - ids are not secrets
        #: As many random bits as asked for, which make an id unless all are 0.
        self.bits = self._random.getrandbits
        self._seed()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._seed)

    def _seed(self) -> None:
        self._random.seed(os.urandom(32))

    def generate_span_id(self) -> int:
        while not (number := self._random.getrandbits(64)):
            pass
        return number

    def generate_trace_id(self) -> int:
        while not (number := self._random.getrandbits(128)):
            pass
        return number

    def is_trace_id_random(self) -> bool:
        """Set the W3C random flag: the low 56 bits are random, which downstream samplers rely on."""
        return True
