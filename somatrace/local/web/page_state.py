"""What every page needs: the store, who may look, and what the header says."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import Request

from somatrace.local.access.auth import Auth
from somatrace.local.ingest.page_priority import PagePriority
from somatrace.local.ingest.refusals import Refusals
from somatrace.local.queries import overview
from somatrace.local.store.database import FILE
from somatrace.local.store.quarantine import QuarantinedFile, latest
from somatrace.local.store.store import Store

Result = TypeVar("Result")


class PageState:
    """One store as the pages see it. Reading raises `sqlite3.Error` or `OSError`."""

    def __init__(self, store: Store, auth: Auth, refusals: Refusals, turns: PagePriority) -> None:
        self.store = store
        self.turns = turns
        self._auth = auth
        self._refusals = refusals
        # what is shown when the store cannot be read any more
        self.last_read: tuple[int, dict[str, Any]] | None = None

    def refuses(self, request: Request) -> bool:
        """Whether this is not a browser that came in by the link."""
        return self._auth.refuse_browser(request)

    def read(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        return self.store.read(query)

    def aside(self) -> QuarantinedFile | None:
        """The store that this one took the place of, as long as its file is there."""
        return latest(self.store.directory, FILE)

    def header(self) -> dict[str, Any]:
        """When spans last came, how fast, what is kept and what was refused; empty when nobody knows."""
        now = time.time_ns()
        reasons, refused_ns = self._refusals.seen()
        try:
            arrival = self.store.read(lambda connection: overview.arrival(connection, now))
        except (sqlite3.Error, OSError):
            arrival = {}
        else:
            self.last_read = now, arrival
        return {
            "last_ns": arrival.get("last_ns"),
            "age_ns": now - arrival["last_ns"] if arrival.get("last_ns") else None,
            "per_second": arrival.get("per_second", 0.0),
            "kept_ns": arrival.get("kept_ns"),
            "refused": sum(count for _, count in reasons),
            "refusals": reasons,
            "refused_ns": refused_ns,
            "aside": self.aside(),
        }
