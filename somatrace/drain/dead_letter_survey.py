"""The spans in a data directory that their target does not accept, and its answers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from somatrace import semconv
from somatrace.delivery.dead_letters import DEAD_LETTERS, DeadLetter, dead_letter_in
from somatrace.drain.survey import Owner, directories, printable, reason
from somatrace.spool.segment_file import SegmentFile
from somatrace.spool.segment_format import DEAD
from somatrace.spool.segment_reader import records
from somatrace.spool.spool_directory import created_ns, open_file, open_spool


class DatedLetter(NamedTuple):
    """A letter, its number of spans, and when it was written (Unix nanoseconds)."""

    when_ns: int
    spans: int
    content: DeadLetter


@dataclass(frozen=True)
class DeadSegment:
    """One file."""

    path: Path
    owner: Owner
    letters: tuple[DatedLetter, ...]
    #: Spans that cannot be read.
    damaged: int = 0


@dataclass(frozen=True)
class DeadSpan:
    """One span of a letter, for a person: nothing of it is content."""

    when_ns: int
    service: str
    target: str
    tenant: str
    name: str
    trace_id: str
    span_id: str
    status: str
    answer: str


def dead_segments(data_dir: Path, problems: list[str]) -> Iterator[DeadSegment]:
    """Every file with dead letters, oldest first for each service and target. Nothing is changed.

    What cannot be read is added to `problems`.
    """
    for directory in directories(data_dir, DEAD_LETTERS):
        if directory.problem:
            problems.append(printable(f"{directory.path}: {directory.problem}"))
            continue
        for segment in directory.segments:
            problem = segment.problem or ("" if segment.owner else "it does not say whose its spans are")
            if problem or segment.owner is None:
                problems.append(printable(f"{segment.path}: {problem}"))
                continue
            try:
                found = _read(segment.path, segment.owner)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                problems.append(printable(f"{segment.path}: {reason(error)}"))
                continue
            if found.damaged:
                problems.append(printable(f"{segment.path}: damaged spans: {found.damaged}"))
            yield found


def _read(path: Path, owner: Owner) -> DeadSegment:
    spool = open_spool(path.parent.parent, create=False)
    try:
        descriptor = open_file(spool, path.name, os.O_RDONLY)
    finally:
        os.close(spool)
    try:
        return _segment_in(descriptor, path, owner)
    finally:
        os.close(descriptor)


def _segment_in(descriptor: int, path: Path, owner: Owner) -> DeadSegment:
    letters, damaged = [], 0
    for header, payload, _ in records(descriptor, complete=True):
        if header is None or payload is None:
            damaged += 1 if header is None else header.spans
        elif header.kind == DEAD:
            try:
                letters.append(DatedLetter(header.time_ns, header.spans, dead_letter_in(payload)))
            except ValueError:
                damaged += header.spans
    return DeadSegment(path, owner, tuple(letters), damaged)


@contextlib.contextmanager
def held(segment: DeadSegment) -> Iterator[tuple[DeadSegment, SegmentFile] | None]:
    """What is in a segment now, and its locked file; None if a process writes to it or it is gone."""
    path = segment.path
    parent, file = path.parent.parent, None
    with contextlib.suppress(FileNotFoundError):
        spool = open_spool(parent, create=False)
        try:
            file = SegmentFile.take_over(parent, spool, path.name, created_ns(path.name) or 0)
        finally:
            os.close(spool)
    if file is None:
        yield None
        return
    try:
        yield _segment_in(file.descriptor, path, segment.owner), file
    finally:
        file.close()


def spans_of(segments: Iterable[DeadSegment]) -> Iterator[DeadSpan]:
    """Their spans, oldest first. Texts are safe for a terminal."""
    found = [span for segment in segments for span in _spans_of(segment)]
    yield from sorted(found, key=lambda span: span.when_ns)


def _spans_of(segment: DeadSegment) -> Iterator[DeadSpan]:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    for when_ns, _, letter in segment.letters:
        shown = letter.body if letter.restricted is None else letter.restricted.without_content
        common = (when_ns, printable(segment.owner.service), segment.owner.destination)
        answer = (printable(letter.status), printable(letter.answer))
        try:
            request = ExportTraceServiceRequest.FromString(shown)
        except DecodeError:
            yield DeadSpan(*common, "", "", "", "", *answer)
            continue
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    tenants = [one.value for one in span.attributes if one.key == semconv.TENANT]
                    yield DeadSpan(
                        *common,
                        printable(tenants[0].string_value) if tenants else "",
                        printable(span.name),
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        *answer,
                    )
