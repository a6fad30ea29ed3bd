"""Variables that look like settings and are none: unknown `SOMATRACE_*`, misspelled others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from somatrace.config.environment import IN_FILES
from somatrace.config.reader import known_variables
from somatrace.config.settings import Problem
from somatrace.config.specs import ALSO_READ, REPLACED, SPAN_LIMITS

OURS: Final = "SOMATRACE_"
#: Least similarity (`difflib`) of a misspelled name to one that is read: of our own after the prefix, of
#: others as a whole. Other tools have names of their own that resemble those, which must not be reported.
_SIMILAR: Final = {OURS: 0.6, "LANGFUSE_": 0.82, "OTEL_": 0.9}
_MAX_NAME: Final = 100
_MAX_REPORTED: Final = 10
#: Kubernetes sets these for a service named `somatrace` or `somatrace-…` ("Accessing the Service").
_SERVICE_LINK: Final = (
    r"SOMATRACE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)
#: Variables of the langfuse package 5.0 that somatrace does not read.
_LANGFUSES: Final = frozenset(
    {
        "LANGFUSE_MEDIA_UPLOAD_ENABLED",
        "LANGFUSE_MEDIA_UPLOAD_THREAD_COUNT",
        "LANGFUSE_OBSERVE_DECORATOR_IO_CAPTURE_ENABLED",
        "LANGFUSE_OPENAI_SKIP_RAW_RESPONSES",
        "LANGFUSE_OTEL_COMPRESSION",
        "LANGFUSE_OTEL_MAX_BATCH_SIZE_BYTES",
        "LANGFUSE_OTEL_TRACES_EXPORT_PATH",
        "LANGFUSE_PROMPT_CACHE_DEFAULT_TTL_SECONDS",
        "LANGFUSE_TIMEOUT",
    }
)
#: Parts of OpenTelemetry's own variables that resemble ours: other signals, and the Python SDK's extensions.
_OTHER_SIGNALS: Final = r"OTEL_(BLRP_|PYTHON_|EXPORTER_OTLP_(LOGS|METRICS|PROFILES)_)\w+"


def unknown_variables(names: Iterable[tuple[str, str]]) -> Iterator[Problem]:
    """A problem for each unknown variable, at most ten. `names` are (name, source) of the variables set."""
    known = _known()
    reported = 0
    for name, source in names:
        prefix = next((prefix for prefix in _SIMILAR if name.upper().startswith(prefix)), None)
        if prefix is None or name in known or reported == _MAX_REPORTED or not _is_printable(name):
            continue
        message = _unknown(name, prefix, known)
        if message:
            reported += 1
            yield Problem(source, message)


def _unknown(name: str, prefix: str, known: frozenset[str]) -> str:
    """What is wrong with a name that is not known; "" if it may well be another tool's."""
    import difflib  # late: most processes have no unknown variable

    upper = name.upper()
    start = len(prefix) if prefix == OURS else 0
    ends = [each[start:] for each in sorted(known) if each.startswith(prefix)]
    similar = [
        upper[:start] + end
        for end in difflib.get_close_matches(upper[start:], ends, n=1, cutoff=_SIMILAR[prefix])
    ]
    if prefix == OURS:
        if re.fullmatch(_SERVICE_LINK, upper):
            return ""
        advice = f"did you mean {similar[0]}?" if similar else "docs/configuration.md lists all settings"
        return f"not a setting of somatrace, ignored: {advice}"
    if not similar or name in _LANGFUSES or re.fullmatch(_OTHER_SIGNALS, name):
        return ""
    return f"not a known variable, ignored: did you mean {similar[0]}?"


def _known() -> frozenset[str]:
    """Every variable that is read, or reported with its replacement."""
    limits = {variable for pair in SPAN_LIMITS.values() for variable in pair if variable}
    names = {variable.name for _, variable in known_variables()} | limits | {*ALSO_READ, *REPLACED}
    return frozenset(names | {f"{name}_FILE" for name in IN_FILES})


def _is_printable(name: str) -> bool:
    return len(name) <= _MAX_NAME and name.isascii() and name.isprintable()
