"""Read a trace back through the langfuse package, over plain HTTP, or from the embedded store."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn, Protocol
from urllib.parse import urlsplit

from somatrace.config import Settings
from somatrace.delivery.http_connection import UnusableError, connection_to, tls_context
from somatrace.delivery.probe import Failure, Overdue, bounded
from somatrace.delivery.read_api import NO_V2, OBSERVATIONS, ReadApi, json_object, read_api
from somatrace.local.data_dir import data_dir
from somatrace.smoke.checks import Observation
from somatrace.smoke.local_reader import GROUPS, StoreReader
from somatrace.smoke.outcomes import EndedError, NotYetError

_LIMIT: Final = 1000
_REQUEST_SECONDS: Final = 10.0


class GoneError(Exception):
    """The server does not have this API version."""


class TraceReader(Protocol):
    """A way to read a trace back."""

    def read(self, trace_id: str, seconds: float) -> list[Observation]:
        """The observations stored so far; raises `NotYetError`, or `EndedError` when waiting is pointless."""
        ...

    def close(self) -> None: ...


def reader_of(settings: Settings, note: Callable[[str], None]) -> TraceReader | None:
    """The reader for the target; None for targets without a read API, such as plain OTLP."""
    target = settings.target
    if target.kind == "local":
        directory = data_dir(settings.data_dir, settings.state_home)
        if directory is None:
            return None
        return StoreReader(directory, settings.local_max_bytes, settings.local_max_days)
    api = read_api(target)
    return LangfuseReader(api, note) if api is not None else None


class LangfuseReader:
    """Reads from a Langfuse server, or any server with its API."""

    def __init__(self, api: ReadApi, note: Callable[[str], None]) -> None:
        self._http = api
        self._note = note
        self._older = False
        self._client: Any = None
        self._api: Any = None
        if importlib.util.find_spec("langfuse") is None:
            note("plain_http")
        else:
            from langfuse.api import LangfuseAPI

            self._client = _client(api)
            public, secret = api.keys
            self._api = LangfuseAPI(
                base_url=api.base, username=public, password=secret, httpx_client=self._client
            )

    def read(self, trace_id: str, seconds: float) -> list[Observation]:
        try:
            return bounded(lambda: self._read(trace_id, min(seconds, _REQUEST_SECONDS)), seconds)
        except Overdue:
            raise NotYetError("no answer in time") from None
        except Failure as failure:
            raise NotYetError(str(failure)) from None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _read(self, trace_id: str, seconds: float) -> list[Observation]:
        if not self._older:
            try:
                return self._whole(trace_id, seconds)
            except GoneError:
                self._older = True
                self._note("older")
        return self._v1(trace_id, seconds)

    def _whole(self, trace_id: str, seconds: float) -> list[Observation]:
        """Read in two requests, since servers cut metadata to 200 characters unless its key is named."""
        ask = self._v2_by_client if self._client is not None else self._v2_by_http
        found = ask(trace_id, "", seconds)
        keys = {str(key) for each in found for key in each.get("metadata") or () if "," not in str(key)}
        return ask(trace_id, ",".join(sorted(keys)), seconds) if keys else found

    def _v2_by_client(self, trace_id: str, expand: str, seconds: float) -> list[Observation]:
        from langfuse.api.core.api_error import ApiError

        try:
            answer = self._api.observations.get_many(
                trace_id=trace_id,
                fields=GROUPS,
                expand_metadata=expand or None,
                limit=_LIMIT,
                request_options={"timeout_in_seconds": max(1, int(seconds)), "max_retries": 0},
            )
        except ApiError as error:
            _raise_for_status(error.status_code or 0)
        except Exception as error:  # from httpx and pydantic; their messages may contain content
            raise NotYetError(f"the langfuse client: {type(error).__name__}") from None
        return [json.loads(each.json(by_alias=True)) for each in answer.data]

    def _v2_by_http(self, trace_id: str, expand: str, seconds: float) -> list[Observation]:
        query = {"traceId": trace_id, "fields": GROUPS, "expandMetadata": expand, "limit": str(_LIMIT)}
        answer = self._http.get(OBSERVATIONS, query, seconds)
        if answer.status != 200:
            _raise_for_status(answer.status)
        return list(_object(answer.body).get("data") or ())

    def _v1(self, trace_id: str, seconds: float) -> list[Observation]:
        answer = self._http.get(f"/api/public/traces/{trace_id}", {}, seconds)
        if answer.status == 200:
            return list(_from_v1(_object(answer.body)))
        if answer.status == 404 and b"not found within" in answer.body:
            raise NotYetError("")
        try:
            _raise_for_status(answer.status)
        except GoneError:
            what = f"{self._http.base} accepts traces but has no API to read them"
            raise EndedError("unverifiable", what=what) from None


def _raise_for_status(status: int) -> NoReturn:
    """Raise the exception for a status other than 200."""
    if status in (401, 403):
        raise EndedError("unread", what=f"{status} from the read API")
    if status in NO_V2:
        raise GoneError
    raise NotYetError(f"{status} from the read API")


def _object(body: bytes) -> dict[str, Any]:
    found = json_object(body)
    if found is None:
        raise NotYetError("the response of the read API is not a JSON object")
    return found


def _from_v1(trace: dict[str, Any]) -> Iterable[Observation]:
    """Convert a v1 trace to v2 observations, copying the trace's shared fields to each of them."""
    shared = {key: trace.get(key) for key in ("sessionId", "userId", "tags")}
    shared["traceName"] = trace.get("name")
    for each in trace.get("observations") or ():
        if isinstance(each, dict):
            metadata = {**(trace.get("metadata") or {}), **(each.get("metadata") or {})}
            yield {**shared, **each, "metadata": metadata}


def _client(api: ReadApi) -> Any:
    """The langfuse package's HTTP client, with the certificates and proxy use of delivery."""
    import httpx

    url = urlsplit(api.base)
    try:
        tls = tls_context(api.target) if url.scheme == "https" else None
        proxied = connection_to(url, tls).host != url.hostname
    except UnusableError as error:
        raise EndedError("tls", what=str(error), setting="SOMATRACE_CERTIFICATE") from None
    return httpx.Client(verify=tls or True, trust_env=proxied, timeout=_REQUEST_SECONDS)
