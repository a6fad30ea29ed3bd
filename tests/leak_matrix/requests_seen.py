"""The requests that a process sends: their header names, and the span that is current meanwhile."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from opentelemetry import trace

from somatrace.libraries import LIBRARIES

#: Import names of the clients of models.
_CLIENTS = {name: row.name for row in LIBRARIES if row.role == "model" for name in row.import_names}
_CLIENTS |= {"botocore": "bedrock"}


def _library() -> str | None:
    """The client of models that sends the request, by the functions that are running."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        for name, library in _CLIENTS.items():
            if module == name or module.startswith(name + "."):
                return library
        frame = frame.f_back
    return None


class Requests:
    """Notes each request as it reaches the wire, whichever client sends it."""

    def __init__(self, place: Callable[[trace.Span], int | None]) -> None:
        self._place = place
        self.seen: list[dict[str, Any]] = []

    def install(self) -> None:
        self._wrap("h11", "Connection", "send", self._h11)
        self._wrap("http.client", "HTTPConnection", "endheaders", self._http_client)
        self._wrap("aiohttp", "ClientRequest", "send", self._aiohttp)

    def _wrap(self, module: str, owner: str, method: str, note: Callable[..., None]) -> None:
        try:
            cls = getattr(importlib.import_module(module), owner)
        except ImportError:
            return
        wrapped = getattr(cls, method)

        @functools.wraps(wrapped)
        def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
            note(self, *args)
            return wrapped(self, *args, **kwargs)

        setattr(cls, method, noting)

    def _h11(self, _: Any, event: Any) -> None:
        if type(event).__name__ == "Request":
            names = [name.decode() for name, _ in event.headers]
            self._note("h11", event.method.decode(), event.target.decode(), names)

    def _http_client(self, connection: Any, *_: Any) -> None:
        first, *lines = [line.decode("latin-1") for line in connection._buffer if line]
        method, target, _ = first.split(" ", 2)
        self._note("http.client", method, target, [line.partition(":")[0] for line in lines])

    def _aiohttp(self, request: Any, *_: Any) -> None:
        self._note("aiohttp", request.method, request.url.raw_path_qs, request.headers)

    def _note(self, client: str, method: str, target: str, names: Iterable[str]) -> None:
        span = self._place(trace.get_current_span())
        headers = sorted({name.lower() for name in names})
        seen = {"transport": client, "library": _library(), "method": method, "target": target}
        self.seen.append({**seen, "headers": headers, "span": span})
