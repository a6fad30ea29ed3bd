"""Langfuse's read API at a target, over the same kind of connection that delivers spans."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from somatrace import semconv
from somatrace.config import Target
from somatrace.config.urls_and_headers import basic_credentials
from somatrace.delivery.probe import Exchange, exchange

OBSERVATIONS: Final = "/api/public/v2/observations"
#: Statuses returned by servers without the v2 read API (Langfuse 2 and 3).
NO_V2: Final = (404, 405, 501)


class ReadApi:
    """Reads with the keys and certificates of one target. `keys` are the public and the secret one."""

    def __init__(self, target: Target, keys: tuple[str, str]) -> None:
        self.target = target
        self.keys = keys
        self.base = target.address.removesuffix(semconv.LANGFUSE_OTLP_PATH)

    def get(self, path: str, query: Mapping[str, str], seconds: float) -> Exchange:
        """Send one GET request; raise `Failure` if there is no answer."""
        given = self.target.headers.items()
        authorization = next((value for name, value in given if name.lower() == "authorization"), "")
        url = f"{self.base}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Authorization": authorization, "Accept": "application/json"}
        return exchange(self.target, url, headers=headers, timeout=seconds)


def read_api(target: Target) -> ReadApi | None:
    """The read API of a target; None for targets without one, such as plain OTLP."""
    keys = basic_credentials(target.headers)
    path = urlsplit(target.url).path
    if target.protocol == "grpc" or keys is None or not path.endswith(semconv.LANGFUSE_OTLP_PATH):
        return None
    return ReadApi(target, keys)


def json_object(body: bytes) -> dict[str, Any] | None:
    """The body as a JSON object with exact fractions; None if it is anything else."""
    try:
        found = json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
