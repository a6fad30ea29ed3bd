"""The resource: service, host and process attributes. None of them can contain a secret."""

from __future__ import annotations

import os
import platform
import socket
import uuid
from collections.abc import Callable

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.version import __version__ as sdk_version

from somatrace import semconv
from somatrace.config import Settings


def resource_of(settings: Settings) -> Callable[[], Resource]:
    """A function that returns this process's resource, recreated after a fork.

    Command lines and process owners are excluded; OTEL_RESOURCE_ATTRIBUTES (such as Kubernetes attributes)
    are included.
    """
    by_pid: dict[int, Resource] = {}

    def now() -> Resource:
        pid = os.getpid()
        if pid not in by_pid:
            by_pid.clear()
            by_pid[pid] = Resource(_attributes(settings, pid))
        return by_pid[pid]

    return now


def _attributes(settings: Settings, pid: int) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": sdk_version,
        "telemetry.distro.name": "somatrace",
        "telemetry.distro.version": semconv.VERSION,
        "host.name": socket.gethostname(),
        "host.arch": platform.machine(),
        "process.pid": pid,
        "process.runtime.name": platform.python_implementation().lower(),
        "process.runtime.version": platform.python_version(),
        semconv.SERVICE_INSTANCE: str(uuid.UUID(bytes=os.urandom(16), version=4)),
        **settings.resource_attributes,
        semconv.SERVICE_NAME: settings.service_name,
    }
    if settings.service_version:
        attributes[semconv.SERVICE_VERSION] = settings.service_version
    if settings.environment:
        attributes[semconv.ENVIRONMENT] = settings.environment
    if settings.release:
        attributes["langfuse.release"] = settings.release
    return attributes
