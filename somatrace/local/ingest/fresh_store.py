"""A store whose reads include what services of this machine have written so far."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from somatrace.local.ingest.segment_ingest import SegmentIngest
from somatrace.local.store.database import Result
from somatrace.local.store.store import DEFAULT_MAX_BYTES, DEFAULT_MAX_DAYS, Store

_PATIENCE: Final = 2.0


class FreshStore(Store):
    """A store that takes in waiting segments before it is read, for up to `patience` seconds each time."""

    def __init__(
        self,
        directory: Path,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_days: float = DEFAULT_MAX_DAYS,
        *,
        patience: float = _PATIENCE,
        skipped: Callable[[str], None] | None = None,
    ) -> None:
        """Opens nothing yet. `skipped` is called with the reason for each record that cannot be taken in."""
        super().__init__(directory, max_bytes, max_days)
        self.segments = SegmentIngest(self, skipped)
        self._patience = patience

    def read(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        """Like `Store.read`. If segments cannot be taken in, returns the result without them."""
        self.segments.catch_up(self._patience)
        return super().read(query)
