"""Send what waits in one directory, as a running service would."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from somatrace.config import Config, Settings
from somatrace.delivery.batch_queue import BatchQueue
from somatrace.delivery.dead_letters import DeadLetters
from somatrace.delivery.factory import advice_of, owner_of, renewer, transport_of
from somatrace.delivery.journal import Journal
from somatrace.delivery.journal_entry import Contents, HeldSegment
from somatrace.delivery.ledger import Ledger
from somatrace.delivery.outbox import Outbox
from somatrace.delivery.send_result import ACCEPTED, SendResult, Transport
from somatrace.drain.survey import Owner
from somatrace.guard.redaction.redact import redact_text
from somatrace.runtime.clock import clock
from somatrace.spool.spool_directory import NAME


@dataclass
class Sent:
    """Spans delivered and lost, and why the rest of them was not sent."""

    delivered: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    failure: str = ""


#: Days: whoever drains wants what is there.
_FOREVER: Final = 36_500.0
#: Bytes: only halves of rejected batches are written, in place of what was there.
_UNLIMITED: Final = 1 << 50


class DirectoryJournal(Journal):
    """Takes over what is in one directory, whatever its age, and if `of_any` whoever it is of."""

    def __init__(
        self, directory: Path, owner: Owner | None, damaged: Counter[str], *, of_any: bool = False
    ) -> None:
        described = owner._asdict() if owner is not None else {}
        limits = {"max_bytes": _UNLIMITED, "max_days": _FOREVER}
        super().__init__(lambda: None, described, evicted=damaged.update, **limits)  # type: ignore[arg-type]
        self._place = directory
        self._of_any = of_any

    def directory(self) -> Path:
        """The one that was given: whatever its name, it is not looked for again."""
        return self._place

    def _let_go(self, segment: HeldSegment) -> None:
        if segment.was_left:
            super()._let_go(segment)
        else:  # the next start of the service reports that
            segment.file.close()

    def _accepts(self, contents: Contents) -> bool:
        return self._of_any or super()._accepts(contents)


class _Watched:
    """A transport that keeps its last result."""

    def __init__(self, last: list[SendResult], transport: Transport) -> None:
        self._last = last
        self._transport = transport
        self.interrupt = transport.interrupt
        self.close = transport.close

    def send(self, body: bytes, timeout: float) -> SendResult:
        self._last[0] = result = self._transport.send(body, timeout)
        return result


def send_directory(
    directory: Path,
    owner: Owner | None,
    settings: Settings,
    config: Config | None,
    *,
    retarget: bool,
    until: float,
    progress: Callable[[int], None],
    sent: Sent,
    allows: Callable[[str, str], bool],
) -> None:
    """Send until nothing waits, `until` has come, or the target's answer is one that waiting does not change.

    `retarget`: also what is for another target. `allows` tells whether a tenant's grant of content, given by
    its fingerprint, is in force. `sent` is filled also if this is interrupted. A process may be killed at any
    point: spans that were accepted and not yet marked are sent again by the next one.
    """
    transport, _ = transport_of(settings)
    if transport is None:
        return
    ledger = Ledger()
    journal = DirectoryJournal(directory, owner, sent.lost, of_any=retarget)
    queue = BatchQueue(
        ledger,
        lambda: journal,
        max_bytes=settings.queue_bytes,
        batch_size=settings.batch_size,
        allows=allows,
    )
    outbox = Outbox(
        transport,
        queue,
        ledger,
        timeout=settings.target.timeout,
        quick_retries=settings.max_retries,
        renew=renewer(settings.service_name, config, settings),
        advice=advice_of(settings),
        open_dead_letters=_dead_letters_beside(directory, owner, settings) if owner is not None else None,
    )
    last = [ACCEPTED]
    outbox.wrap_transports(lambda wrapped: _Watched(last, wrapped))
    try:
        while not queue.empty or queue.add_left():
            if clock.monotonic() >= until:
                sent.failure = f"{_refusal(ledger) if outbox.away else 'not sent'} within --timeout"
                break
            wait = outbox.send(deadline=until)
            progress(ledger.delivered)
            if outbox.away and last[0].outcome != "retry":
                sent.failure = _refusal(ledger)
                break
            if wait:
                clock.sleep(max(0.0, min(wait, until - clock.monotonic())))
    finally:
        outbox.close()
        queue.leave(1.0)
        sent.delivered += ledger.delivered
        sent.lost.update(ledger.lost)
    if lost := ledger.waiting:  # halves of rejected batches for which there is no room on disk
        sent.lost["disk"] += lost


def _dead_letters_beside(directory: Path, owner: Owner, settings: Settings) -> Callable[[], DeadLetters]:
    """Where spans of a service are kept that the configured target does not accept."""
    return lambda: DeadLetters(
        lambda: directory.parent.parent,
        owner_of(owner.service, settings.target),
        max_bytes=settings.spool_max_bytes or _UNLIMITED,
        max_days=settings.spool_max_days,
        evicted=lambda _: None,
        redact=redact_text,
    )


def _refusal(ledger: Ledger) -> str:
    return f"the target does not accept spans ({ledger.last_error})"


def remove_empty(directory: Path) -> None:
    """Remove a directory without files. A service that needs it makes it again."""
    for path in (directory / NAME, directory, directory.parent):
        with contextlib.suppress(OSError):
            path.rmdir()
