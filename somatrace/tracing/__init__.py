"""Lifecycle of tracing: `init_tracing`, `flush`, `shutdown`, `status`."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from somatrace.config import Config, Settings, Target, resolve
from somatrace.listeners.record import Listener
from somatrace.runtime.limits import EXIT_LIMIT
from somatrace.runtime.open_handlers import skip_closed_handlers
from somatrace.runtime.status import Status
from somatrace.tracing import child_config

if TYPE_CHECKING:
    from somatrace.tracing.assembly import Tracing

log = logging.getLogger("somatrace")

_lock: Final = threading.RLock()
_tracing: Tracing | None = None
_failures: tuple[str, ...] = ("init_tracing was not called",)


def init_tracing(
    service_name: str, /, *, config: Config | None = None, listeners: Sequence[Listener] = ()
) -> None:
    """Trace this process as the service `service_name`: the one line to add to a service's `main.py`.

    Spans go to the one target configured by the environment or `config`: a Langfuse server, any OTLP
    backend, or, by default, the local store shown by `somatrace local`. Libraries are instrumented when
    the program imports them, before or after this call. Content is off by default.

    Calling it again with the same name does nothing. It does no network I/O, prints nothing and never
    raises for a bad value: an unusable setting falls back to a safe value, with one log line and an entry
    in `status().problems`. `listeners` receive every span and event, see `Record`.
    """
    global _tracing, _failures  # noqa: PLW0603 - one pipeline per process, in one named place
    with _lock:
        if _tracing is not None:
            if _tracing.settings.service_name != service_name:
                log.warning(
                    "init_tracing(%r) ignored: this process is already traced as %r",
                    service_name,
                    _tracing.settings.service_name,
                )
            return
        problems: tuple[str, ...] = ()
        try:
            skip_closed_handlers()
            settings = _settings(service_name, config)
            problems = tuple(map(str, settings.problems))
            # late: the SDK reads the environment on import, and raises for a limit that is not a number
            from somatrace.tracing.assembly import assemble

            _tracing = assemble(
                settings,
                config,
                listeners,
                start=partial(_start_in_child, service_name, child_config.pickled(config)),
                flush=partial(_last, flush),
                shutdown=partial(_last, shutdown),
            )
        except Exception as error:
            failure = f"tracing is off: {type(error).__name__} during startup; the program is not affected"
            _failures = (*problems, failure)
            log.warning("%s", failure)
            log.debug("init_tracing failed", exc_info=True)
            return
        atexit.register(_at_exit)


def flush(timeout: float = 5.0) -> bool:
    """Wait up to `timeout` seconds for all ended spans to be delivered; return whether they were."""
    pipeline = _tracing.pipeline if _tracing is not None else None
    return True if pipeline is None else pipeline.flush(max(0.0, timeout))


def shutdown(timeout: float = EXIT_LIMIT) -> bool:
    """Flush, then stop delivery for good, within `timeout` seconds; return whether all spans were delivered.

    Called with 0.9 seconds when the process exits, after the sending modules are loaded. Spans that end
    afterwards are counted and dropped.
    """
    if _tracing is None or _tracing.pipeline is None:
        return True
    closed = _tracing.pipeline.close(max(0.0, timeout))
    if _tracing.grants is not None:
        _tracing.grants.close()
    return closed


def status() -> Status:
    """The state of tracing in this process, without secrets and without I/O."""
    live = _tracing
    if live is None:
        return Status(enabled=False, available=False, problems=_failures)
    return live.status()


def installed() -> Tracing | None:
    """The result of `init_tracing`, for commands and tests; None before it."""
    return _tracing


def _settings(service_name: str, config: Config | None) -> Settings:
    settings = resolve(service_name, config)
    if settings.debug:
        log.setLevel(logging.DEBUG)
    for problem in settings.problems:
        log.warning("%s", problem)
    return settings if settings.enabled else replace(settings, target=Target("none"))


def _start_in_child(service_name: str, fields: dict[str, bytes | None]) -> None:
    """Trace a child process like its parent, which has pickled its settings."""
    config, problems = child_config.restored(fields)
    init_tracing(service_name, config=config)
    if _tracing is not None:
        for problem in problems:
            _tracing.coverage.problem(problem)


def _last(end: Callable[[float], bool], timeout: float) -> bool:
    """Call `end` where a process ends, after loading the sending modules.

    The limit is meant for targets that do not answer. On a busy machine a short program would spend all
    of it on imports, so these have a limit of their own.
    """
    try:
        if _tracing is not None:
            _tracing.load()
    except Exception:
        log.debug("loading the sending modules failed", exc_info=True)
    return end(timeout)


def _at_exit() -> None:
    try:
        _last(shutdown, EXIT_LIMIT)
    except Exception:
        log.debug("shutdown at exit failed", exc_info=True)
