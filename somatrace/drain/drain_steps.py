"""The steps of `somatrace drain`: what waits, where it goes, what is left."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from somatrace.config import Config, Settings, resolve
from somatrace.delivery.factory import SPOOLED, owner_of, transport_of
from somatrace.drain.dead_letter_report import DeadReport
from somatrace.drain.dead_letter_steps import export_dead, retry_dead
from somatrace.drain.dead_letter_survey import dead_segments, spans_of
from somatrace.drain.directory_sender import Sent, remove_empty, send_directory
from somatrace.drain.drain_report import Report, Verb, counted, rows_of
from somatrace.drain.export_file import export
from somatrace.drain.progress import Progress, silent
from somatrace.drain.survey import Owner, WaitingDirectory, directories, printable
from somatrace.local.data_dir import existing_data_dir
from somatrace.runtime.clock import clock
from somatrace.tracing.content_policy import grants_of, in_force

_SERVICE: Final = "somatrace"
_NO_DATA_DIR: Final = "the data directory, which does not exist"


class DrainError(Exception):
    """Bad input or settings, as one line with the fix."""


@dataclass(frozen=True)
class DrainOptions:
    """The options of the command; `timeout` is in seconds."""

    env_file: str | None = None
    data_dir: Path | None = None
    timeout: float = 60.0
    dry_run: bool = False
    retarget: bool = False
    export: Path | None = None
    #: List or export what the targets do not accept, or have it wait again.
    dead: bool = False
    retry: bool = False


def run(
    options: DrainOptions,
    show: Callable[[str], None] = lambda _: None,
    progress: Progress = silent,
) -> Report | DeadReport:
    """Send, export or list what waits. Passes a line per service to `show`; raises `DrainError`."""
    _check(options)
    config = Config(env_file=options.env_file) if options.env_file else None
    settings = resolve(_SERVICE, config)
    data_dir = _data_dir(options, settings)
    if options.dead and not options.retry:
        return _dead(options, settings, data_dir)
    wanted = Owner(**owner_of(_SERVICE, settings.target))
    is_sending = not options.dry_run and options.export is None
    if is_sending:
        _require_target(settings)
    verb: Verb = "waiting" if options.dry_run else "sent" if is_sending else "exported"
    report = Report(str(data_dir or _NO_DATA_DIR), wanted.destination, verb)
    if data_dir is None:
        return report
    # what the outbox logs is in the report
    logging.getLogger("somatrace").addHandler(logging.NullHandler())
    drain = _Drain(options, settings, config, wanted, report, show, progress)
    try:
        if options.export is not None:
            drain.export(data_dir, options.export)
        elif is_sending:
            drain.send(data_dir)
    except KeyboardInterrupt:
        report.interrupted = True
        report.failure = report.failure or "interrupted"
    found = list(directories(data_dir))
    report.rows = rows_of(found, None if options.retarget or options.export else wanted)
    if not options.dry_run:
        for directory in found:
            if not directory.problem and not directory.segments:
                remove_empty(directory.path)
    return report


def _dead(options: DrainOptions, settings: Settings, data_dir: Path | None) -> DeadReport:
    """List or export what the targets do not accept."""
    report = DeadReport(str(data_dir or _NO_DATA_DIR))
    in_force_now = in_force(grants_of(settings))

    def allows(tenant: str, fingerprint: str) -> bool:
        is_in_force = in_force_now(tenant, fingerprint)
        report.removed_content |= not is_in_force
        return is_in_force

    if data_dir is not None and options.export is not None:
        try:
            report.exported = export_dead(data_dir, options.export, allows)
        except OSError as error:
            raise _unwritable(options.export, error) from None
    if data_dir is not None:
        report.spans = list(spans_of(dead_segments(data_dir, report.problems)))
    return report


def _unwritable(path: Path, error: OSError) -> DrainError:
    return DrainError(
        f"--export: {path} cannot be written ({error.strerror}); name a file in a directory with room"
    )


@dataclass
class _Drain:
    options: DrainOptions
    settings: Settings
    config: Config | None
    wanted: Owner
    report: Report
    show: Callable[[str], None]
    progress: Progress

    @cached_property
    def in_force(self) -> Callable[[str, str], bool]:
        """As in a service, whose settings these are."""
        return in_force(grants_of(self.settings))

    def allows(self, tenant: str, fingerprint: str) -> bool:
        """Whether a grant is in force; otherwise the report says that content was removed."""
        is_in_force = self.in_force(tenant, fingerprint)
        self.report.removed_content |= not is_in_force
        return is_in_force

    def send(self, data_dir: Path) -> None:
        """Send directory by directory, until the target accepts no more or the time is over."""
        if self.options.retry:
            self._retry_dead(data_dir)
        until = clock.monotonic() + self.options.timeout
        for directory in directories(data_dir):
            if directory.problem or not self._is_wanted(directory):
                continue
            sent = Sent()
            service = printable(directory.owner.service) if directory.owner is not None else "?"
            try:
                with self.progress(service, sum(one.spans for one in directory.segments)) as progress:
                    send_directory(
                        directory.path,
                        directory.owner,
                        self.settings,
                        self.config,
                        retarget=self.options.retarget,
                        until=until,
                        progress=progress,
                        sent=sent,
                        allows=self.allows,
                    )
            finally:
                self.report.done += sent.delivered
                self.report.lost.update(sent.lost)
                if sent.delivered:
                    self.show(f"{service}: {counted(sent.delivered)} sent to {self.wanted.destination}")
            if sent.failure:
                self.report.failure = sent.failure
                return

    def _is_wanted(self, directory: WaitingDirectory) -> bool:
        if self.options.retarget:
            return bool(directory.segments)
        return directory.owner is not None and directory.owner[1:] == self.wanted[1:]

    def _retry_dead(self, data_dir: Path) -> None:
        try:
            spans = retry_dead(data_dir)
        except OSError as error:
            raise DrainError(f"--retry: {error.strerror or error}") from None
        if spans:
            self.show(f"{counted(spans)} {'waits' if spans == 1 else 'wait'} again")

    def export(self, data_dir: Path, path: Path) -> None:
        found = [one for one in directories(data_dir) if not one.problem and one.segments]
        if not found:
            return
        waiting = sum(segment.spans for one in found for segment in one.segments)
        try:
            with self.progress(str(path), waiting) as progress:
                self.report.done = export(
                    path, found, self.report.lost, progress=progress, allows=self.allows
                )
        except OSError as error:
            raise _unwritable(path, error) from None
        if self.report.done:
            self.show(f"{counted(self.report.done)} written to {path}")


def _check(options: DrainOptions) -> None:
    if options.retry and (not options.dead or options.export is not None or options.dry_run):
        raise DrainError("--retry has dead letters wait again and sends them: use it with --dead only")
    if options.dead and not options.retry and (options.dry_run or options.retarget):
        raise DrainError("--dead sends nothing: leave out --dry-run and --retarget")
    if options.export is not None and options.dry_run:
        raise DrainError("--dry-run writes no file: leave out --export, which takes all that is not in use")
    if options.export is not None and options.retarget:
        raise DrainError("--export writes what waits for every target: leave out --retarget")
    if options.export is not None and os.path.lexists(options.export):
        raise DrainError(f"--export: {options.export} exists; name a new file")
    if options.data_dir is not None and not options.data_dir.is_dir():
        raise DrainError(f"--data-dir: {options.data_dir} is not a directory")


def _data_dir(options: DrainOptions, settings: Settings) -> Path | None:
    if options.data_dir is not None:
        return options.data_dir.absolute()
    return existing_data_dir(settings.data_dir, settings.state_home)


def _require_target(settings: Settings) -> None:
    """Raise `DrainError` unless the target is one that spans wait for and that can be sent to."""
    target = settings.target
    if not settings.enabled:
        raise DrainError(f"{settings.sources['enabled']} disables tracing: set it to true to send what waits")
    if target.unusable:
        raise DrainError(target.unusable)
    if target.kind not in SPOOLED:
        raise DrainError(
            f"the target is {target.kind}, for which nothing waits: set LANGFUSE_* or "
            "OTEL_EXPORTER_OTLP_ENDPOINT as the services do (--env-file), or use --export"
        )
    _, problem = transport_of(settings)
    if problem:
        raise DrainError(problem)
