"""somatrace: OpenTelemetry-native tracing for Python LLM services.

Names are loaded on first use, so that `somatrace.guard` and `somatrace.check` can be imported
without OpenTelemetry. Nothing is imported before that: `python -m somatrace.check` runs this module while the
directory that it checks is still on the path.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from somatrace.api.annotate import content, event, fail, usage
    from somatrace.api.bind import bind, bound
    from somatrace.api.span import span
    from somatrace.config import Config, ConfigError
    from somatrace.guard import ContentPolicy
    from somatrace.listeners.record import Listener, Record
    from somatrace.propagation import incoming, outgoing
    from somatrace.runtime.status import Status, TenantSpans
    from somatrace.semconv import Kind
    from somatrace.tracing import flush, init_tracing, shutdown, status

_HOMES = {
    "Config": "config",
    "ConfigError": "config",
    "ContentPolicy": "guard",
    "Kind": "semconv",
    "Listener": "listeners.record",
    "Record": "listeners.record",
    "Status": "runtime.status",
    "TenantSpans": "runtime.status",
    "bind": "api.bind",
    "bound": "api.bind",
    "content": "api.annotate",
    "event": "api.annotate",
    "fail": "api.annotate",
    "flush": "tracing",
    "incoming": "propagation",
    "init_tracing": "tracing",
    "outgoing": "propagation",
    "shutdown": "tracing",
    "span": "api.span",
    "status": "tracing",
    "usage": "api.annotate",
}

__all__ = [
    "Config",
    "ConfigError",
    "ContentPolicy",
    "Kind",
    "Listener",
    "Record",
    "Status",
    "TenantSpans",
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
        from somatrace.semconv import VERSION

        return VERSION
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'somatrace' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"somatrace.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
