"""The resource: which service, where, in which process. Nothing in it can hold a secret."""

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
    """A function that gives this process's resource, made anew after a fork.

    Command lines and owners are left out; OTEL_RESOURCE_ATTRIBUTES (Kubernetes attributes, say) are in.
    """
    made: dict[int, Resource] = {}

    def now() -> Resource:
        pid = os.getpid()
        if pid not in made:
            made.clear()
            made[pid] = Resource(_attributes(settings, pid))
        return made[pid]

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
