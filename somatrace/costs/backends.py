"""Where observations are read from: a Langfuse server, or the local store, by the same queries."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from somatrace.config import Settings
from somatrace.delivery.otlp_http import retry_after
from somatrace.delivery.probe import MAX_BODY, Exchange, Failure, Overdue, bounded
from somatrace.delivery.read_api import NO_V2, OBSERVATIONS, ReadApi, json_object, read_api
from somatrace.delivery.status_rules import http_rule
from somatrace.local.data_dir import STORE_FILE, existing_data_dir
from somatrace.local.ingest.fresh_store import FreshStore
from somatrace.local.langfuse_api import observations
from somatrace.runtime.clock import clock
from somatrace.spool.spool_directory import NAME as SPOOL

SourceName = Literal["langfuse", "local"]
Query = dict[str, str]
Page = dict[str, Any]

_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 60.0
_NO_LANGFUSE: Final = "no Langfuse server is configured: set LANGFUSE_BASE_URL and both keys"


class UnavailableError(Exception):
    """Nothing can be read; the message is one line with the reason."""


class _LateError(UnavailableError):
    """The time was over before an answer came."""


class Backend(Protocol):
    """A source of pages of observations. `where` is its address or directory."""

    name: SourceName
    where: str

    def page(self, query: Query, until: float) -> Page:
        """One page, read before `until` (of `clock.monotonic`). Raises UnavailableError."""
        ...

    def close(self) -> None: ...


def backend_of(settings: Settings, source: str) -> Backend:
    """The source named `langfuse` or `local`; `auto` is where the services of these settings send spans.

    Raises UnavailableError if there is none.
    """
    target = settings.target
    api = read_api(target)
    if source != "local" and api is not None:
        return LangfuseBackend(api)
    if source == "langfuse":
        raise UnavailableError(target.unusable or _NO_LANGFUSE)
    if source == "auto" and target.kind != "local":
        why = target.unusable or f"spans cannot be read back from the target, {target.kind} {target.address}"
        raise UnavailableError(f"{why.strip()}; --source local reads the store of this machine")
    directory = existing_data_dir(settings.data_dir, settings.state_home)
    if directory is None or not any((directory / name).exists() for name in (STORE_FILE, SPOOL)):
        also = ", and no Langfuse server is configured" if source == "auto" else ""
        raise UnavailableError(f"no span is stored on this machine{also}")
    return LocalBackend(directory, settings.local_max_bytes, settings.local_max_days)


class LangfuseBackend:
    """A Langfuse server, or any server with its API, such as `somatrace local`."""

    name: SourceName = "langfuse"

    def __init__(self, api: ReadApi) -> None:
        self.where = api.base
        self._api = api
        self._limit = observations.MAX_LIMIT

    def page(self, query: Query, until: float) -> Page:
        """Waits and asks again where the server limits the rate of requests, or fails for a moment."""
        wait, refusal = _FIRST_WAIT, ""
        while True:
            try:
                answer = self._ask({**query, "limit": str(self._limit)}, until)
            except _LateError:
                if refusal:  # what the server has said tells more
                    raise UnavailableError(refusal) from None
                raise
            if answer.status == 200:
                found = json_object(answer.body)
                if found is not None:
                    return found
                if len(answer.body) < MAX_BODY or self._limit == 1:
                    raise UnavailableError(f"the answer of {self.where} is not a JSON object")
                self._limit //= 2  # longer than a response may be
                continue
            if http_rule(answer.status).outcome != "retry" or answer.status in NO_V2:
                raise UnavailableError(_refusal(self.where, answer.status))
            pause = retry_after(answer.headers.get("Retry-After")) or wait
            refusal = _refusal(self.where, answer.status)
            if clock.monotonic() + pause >= until:
                raise UnavailableError(refusal)
            clock.sleep(pause)
            wait = min(2 * wait, _LONGEST_WAIT)

    def close(self) -> None:
        """Nothing stays open between requests."""

    def _ask(self, query: Query, until: float) -> Exchange:
        seconds = max(0.1, until - clock.monotonic())
        try:
            return bounded(lambda: self._api.get(OBSERVATIONS, query, seconds), seconds)
        except Overdue:
            pass
        except Failure as failure:
            if clock.monotonic() < until:
                raise UnavailableError(str(failure)) from None
        raise _LateError(f"no answer from {self.where} in time: raise --timeout")


class LocalBackend:
    """The store of this machine, with the spans that services have written and nobody has read yet."""

    name: SourceName = "local"

    def __init__(self, directory: Path, max_bytes: int, max_days: float) -> None:
        self.where = str(directory)
        self._store = FreshStore(directory, max_bytes, max_days)

    def page(self, query: Query, until: float) -> Page:  # noqa: ARG002 - the store limits its own reads
        parsed = observations.parse({**query, "limit": str(observations.MAX_LIMIT)}, [])
        try:
            found: Page = self._store.read(lambda connection: observations.select(connection, parsed))
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError(f"the store in {self.where}: {type(error).__name__}") from None
        return found

    def close(self) -> None:
        self._store.close()


def _refusal(where: str, status: int) -> str:
    if status in (401, 403):
        return f"the keys may not read from {where} ({status})"
    if status in NO_V2:
        return f"{where} has no API to read observations of Langfuse 4 ({status})"
    return f"{status} from the read API of {where}"
