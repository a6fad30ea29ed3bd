"""State shared by all pages: the store, access checks and the header's figures."""

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
    """Read access to one store for the pages. Reading raises `sqlite3.Error` or `OSError`."""

    def __init__(self, store: Store, auth: Auth, refusals: Refusals, priority: PagePriority) -> None:
        self.store = store
        self.priority = priority
        self._auth = auth
        self._refusals = refusals
        # shown when the store can no longer be read
        self.last_read: tuple[int, dict[str, Any]] | None = None

    def refuses(self, request: Request) -> bool:
        """Whether the browser is not signed in."""
        return self._auth.refuse_browser(request)

    def read(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        return self.store.read(query)

    def aside(self) -> QuarantinedFile | None:
        """The store that this one replaced, for as long as its file exists."""
        return latest(self.store.directory, FILE)

    def header(self) -> dict[str, Any]:
        """Last arrival, ingest rate, retention and rejections; unknown figures are empty."""
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
