"""The wire format of the OpenAI protocol: untrusted request bodies, error objects, event streams."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

MAX_BODY: Final = 1024 * 1024
#: Answers depend on the request body alone, so their time is constant: 2026-01-01T00:00:00Z.
CREATED: Final = 1_767_225_600


class ApiError(Exception):
    """An error in OpenAI's format; `status` is the HTTP status."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": _kind(status), "param": param, "code": code}}
        self.headers = headers or {}

    def response(self) -> Response:
        return json_response(self.body, self.status, self.headers)


def _kind(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "requests"
    return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"


class Fields:
    """Typed access to a JSON object; null means absent, a wrong type raises `ApiError`."""

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self.values = values
        self._path = path

    def path(self, name: str) -> str:
        return f"{self._path}{name}"

    def error(self, name: str, expected: str, status: int = 400) -> ApiError:
        path = self.path(name)
        return ApiError(status, f"Invalid '{path}': expected {expected}.", param=path, code="invalid_value")

    def text(self, name: str, default: str | None = None) -> str:
        value = self._typed(name, str, "a string")
        if value is None and default is None:
            raise ApiError(400, f"Missing required parameter: '{self.path(name)}'.", param=self.path(name))
        return str(default if value is None else value)

    def integer(self, name: str, low: int, high: int) -> int | None:
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(name, f"an integer from {low} to {high}")
        return value

    def flag(self, name: str) -> bool:
        return bool(self._typed(name, bool, "a boolean"))

    def object(self, name: str) -> Fields | None:
        value = self._typed(name, dict, "an object")
        return None if value is None else Fields(value, self.path(name) + ".")

    def objects(self, name: str) -> list[Fields]:
        """The objects of a list; an absent list is empty."""
        values = self._typed(name, list, "an array") or []
        if not all(isinstance(value, dict) for value in values):
            raise self.error(name, "an array of objects")
        return [Fields(value, f"{self.path(name)}[{index}].") for index, value in enumerate(values)]

    def texts(self, name: str, limit: int) -> list[str]:
        """A string or a list of at most `limit` strings."""
        value = self.values.get(name)
        value = [] if value is None else [value] if isinstance(value, str) else value
        if not isinstance(value, list) or len(value) > limit or any(type(each) is not str for each in value):
            raise self.error(name, f"a string or an array of at most {limit} strings")
        return value

    def _typed(self, name: str, kind: type, expected: str) -> Any:
        value = self.values.get(name)
        if value is not None and not isinstance(value, kind):
            raise self.error(name, expected)
        return value


async def read_body(request: Request) -> Fields:
    """The JSON object in the body, at most `MAX_BODY` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise ApiError(413, f"The request body is larger than {MAX_BODY} bytes.")
    try:
        values = json.loads(bytes(body), parse_constant=_reject, parse_float=_finite)
    except (ValueError, RecursionError):
        raise ApiError(400, "The request body is not valid JSON.") from None
    if not isinstance(values, dict):
        raise ApiError(400, "The request body is not a JSON object.")
    return Fields(values)


def _reject(constant: str) -> None:
    raise ValueError(constant)


def _finite(number: str) -> float:
    """A float; one that overflows would be returned as `Infinity`, which is not JSON."""
    if not math.isfinite(value := float(number)):
        raise ValueError(number)
    return value


def request_id(fields: Fields) -> str:
    """24 hexadecimal digits that depend only on the request body."""
    return hashlib.sha256(json.dumps(fields.values, sort_keys=True).encode()).hexdigest()[:24]


def encode(value: Any) -> bytes:
    """Encode as ASCII JSON, so that lone surrogates in a request cannot break the answer."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as the JSON body of a response."""
    return Response(encode(value), status, dict(headers or {}), "application/json")


class EventStream(Response):
    """Server-sent events, `pause` seconds apart; the connection is closed after `broken_after` of them."""

    media_type = "text/event-stream"

    def __init__(self, events: Sequence[bytes], *, pause: float, broken_after: int | None) -> None:
        super().__init__(headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self._events = events
        self._pause = pause
        self._broken_after = broken_after

    @property
    def sent(self) -> Sequence[bytes]:
        """The events before the connection is closed."""
        return self._events[: self._broken_after]

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for number, event in enumerate(self._events):
            if number == self._broken_after:
                return  # uvicorn closes a connection whose response is incomplete
            await send({"type": "http.response.body", "body": event, "more_body": True})
            await asyncio.sleep(self._pause)
        await send({"type": "http.response.body", "body": b""})
