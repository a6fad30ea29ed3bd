"""somatrace: OpenTelemetry-native tracing for Python LLM services.

Names are loaded when first used, so that `somatrace.guard` and `somatrace.check` import without
OpenTelemetry.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from somatrace.binding import bind, bound
    from somatrace.carry import incoming, outgoing
    from somatrace.config import Config, ConfigError
    from somatrace.guard import ContentPolicy
    from somatrace.health import Status
    from somatrace.names import Kind
    from somatrace.record import Listener, Record
    from somatrace.say import content, event, fail, usage
    from somatrace.spans import span
    from somatrace.tracing import flush, init_tracing, shutdown, status

_HOMES = {
    "Config": "config",
    "ConfigError": "config",
    "ContentPolicy": "guard",
    "Kind": "names",
    "Listener": "record",
    "Record": "record",
    "Status": "health",
    "bind": "binding",
    "bound": "binding",
    "content": "say",
    "event": "say",
    "fail": "say",
    "flush": "tracing",
    "incoming": "carry",
    "init_tracing": "tracing",
    "outgoing": "carry",
    "shutdown": "tracing",
    "span": "spans",
    "status": "tracing",
    "usage": "say",
}

__all__ = [
    "Config",
    "ConfigError",
    "ContentPolicy",
    "Kind",
    "Listener",
    "Record",
    "Status",
    "bind",
    "bound",
    "content",
    "event",
    "fail",
    "flush",
    "incoming",
    "init_tracing",
    "outgoing",
    "shutdown",
    "span",
    "status",
    "usage",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from somatrace.names import VERSION

        return VERSION
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'somatrace' has no attribute {name!r}")
    found = getattr(import_module(f"somatrace.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
