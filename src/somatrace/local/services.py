"""The services that spans came from, as far as what is stored tells."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import Any, Final

from somatrace.local.traces import dicts

_SERVICES: Final = 200
_MINUTE_NS: Final = 60_000_000_000
_SCOPE: Final = ("scope.name", "scope.version")
_SERVICE: Final = "resourceAttributes.service.name"
_INSTANCE: Final = "resourceAttributes.service.instance.id"
_SDK: Final = ("resourceAttributes.telemetry.sdk.name", "resourceAttributes.telemetry.sdk.version")


@dataclass(slots=True)
class Service:
    """One service: counts are of spans, since the store keeps them."""

    name: str
    versions: list[str] = field(default_factory=list)
    last_ns: int = 0
    spans: int = 0
    failed: int = 0
    untagged: int = 0
    cut: int = 0
    last_minute: int = 0
    instances: set[str] = field(default_factory=set)
    scopes: set[str] = field(default_factory=set)
    sdks: set[str] = field(default_factory=set)


def read(connection: sqlite3.Connection, now_ns: int) -> list[Service]:
    """All services, the one that was heard last first."""
    minute = now_ns // _MINUTE_NS
    found: dict[str, Service] = {}
    for row in dicts(
        connection.execute(
            "SELECT service, version, sum(spans) AS spans, sum(failed) AS failed, sum(untagged) AS untagged, "
            "sum(cut) AS cut, max(last_ns) AS last_ns, "
            "sum(CASE WHEN minute = ? THEN spans ELSE 0 END) AS last_minute "
            f"FROM arrivals GROUP BY service, version ORDER BY last_ns DESC LIMIT {_SERVICES}",
            (minute - 1,),
        )
    ):
        service = found.setdefault(row["service"], Service(row["service"]))
        if row["version"]:
            service.versions.append(row["version"])
        for name in ("spans", "failed", "untagged", "cut", "last_minute"):
            setattr(service, name, getattr(service, name) + row[name])
        service.last_ns = max(service.last_ns, row["last_ns"])
    for (text,) in connection.execute("SELECT metadata FROM origins ORDER BY seen_ns DESC LIMIT 2000"):
        origin = json.loads(text)
        if (named := found.get(origin.get(_SERVICE, ""))) is not None:
            _add_origin(named, origin)
    return list(found.values())


def _add_origin(service: Service, origin: dict[str, Any]) -> None:
    for keys, names in ((_SCOPE, service.scopes), (_SDK, service.sdks), ((_INSTANCE,), service.instances)):
        if text := " ".join(origin[key] for key in keys if origin.get(key)):
            names.add(text)
