"""The front door: `init_tracing`, `flush`, `shutdown`, `status`."""

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
from somatrace.runtime.status import EXIT_LIMIT, Status

if TYPE_CHECKING:
    from somatrace.tracing.assembly import Tracing

log = logging.getLogger("somatrace")

_lock: Final = threading.RLock()
_tracing: Tracing | None = None
_failures: tuple[str, ...] = ("init_tracing was not called",)


def init_tracing(
    service_name: str, /, *, config: Config | None = None, listeners: Sequence[Listener] = ()
) -> None:
    """Trace this process as the service `service_name`: the one line of a service's `main.py`.

    Spans go to the one target the environment (or `config`) names: a Langfuse server, any OTLP
    backend, or, with nothing configured, the local store that `somatrace local` shows. Libraries are
    instrumented when the program imports them, before or after this call. Content stays out.

    Calling it again with the same name does nothing. It does no network I/O, prints nothing and never
    raises for a value: a setting that cannot be used takes the safe side, with one log line and an
    entry in `status().problems`. `listeners` are told of every span and event, see `Record`.
    """
    global _tracing, _failures  # noqa: PLW0603 - one road per process, in one named place
    with _lock:
        if _tracing is not None:
            if _tracing.settings.service_name != service_name:
                log.warning(
                    "init_tracing(%r): this process is already traced as %r, which stays",
                    service_name,
                    _tracing.settings.service_name,
                )
            return
        problems: tuple[str, ...] = ()
        try:
            settings = _settings(service_name, config)
            problems = tuple(map(str, settings.problems))
            # late: the SDK reads the environment at its import, and raises for a limit that is no number
            from somatrace.tracing.assembly import assemble

            again = partial(init_tracing, service_name, config=config)
            _tracing = assemble(
                settings,
                config,
                listeners,
                start=again,
                flush=partial(_last, flush),
                shutdown=partial(_last, shutdown),
            )
        except Exception as error:
            said = f"tracing is off: {type(error).__name__} at its start; the program is not affected"
            _failures = (*problems, said)
            log.warning("%s", said)
            log.debug("init_tracing failed", exc_info=True)
            return
        atexit.register(_at_exit)


def flush(timeout: float = 5.0) -> bool:
    """Wait until all ended spans have arrived, at most `timeout` seconds; whether they have."""
    pipeline = _tracing.pipeline if _tracing is not None else None
    return True if pipeline is None else pipeline.flush(max(0.0, timeout))


def shutdown(timeout: float = EXIT_LIMIT) -> bool:
    """Flush, then stop delivery for good, in at most `timeout` seconds; whether all spans arrived.

    Called with 1 second when the process exits, once what sends them is loaded. Spans that end afterwards
    are counted and let go.
    """
    if _tracing is None or _tracing.pipeline is None:
        return True
    closed = _tracing.pipeline.close(max(0.0, timeout))
    if _tracing.grants is not None:
        _tracing.grants.close()
    return closed


def status() -> Status:
    """How tracing stands in this process, without secrets and without I/O."""
    live = _tracing
    if live is None:
        return Status(enabled=False, available=False, problems=_failures)
    return live.status()


def installed() -> Tracing | None:
    """What `init_tracing` made, for the commands and for tests."""
    return _tracing


def _settings(service_name: str, config: Config | None) -> Settings:
    settings = resolve(service_name, config)
    if settings.debug:
        log.setLevel(logging.DEBUG)
    for problem in settings.problems:
        log.warning("%s", problem)
    return settings if settings.enabled else replace(settings, target=Target("none"))


def _last(end: Callable[[float], bool], timeout: float) -> bool:
    """`end` where a process ends. What sends is loaded before its time begins to run: the limit is there for
    targets that do not answer, and on a busy machine a short program would spend all of it on imports."""
    try:
        if _tracing is not None:
            _tracing.load()
    except Exception:
        log.debug("what sends was not loaded ahead", exc_info=True)
    return end(timeout)


def _at_exit() -> None:
    try:
        _last(shutdown, EXIT_LIMIT)
    except Exception:
        log.debug("shutdown at exit failed", exc_info=True)
