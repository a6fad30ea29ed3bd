"""The result of an examination, rendered as text or as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Final

from somatrace.config import ExplainedSetting
from somatrace.config.reader import DEFAULT, KEYWORD
from somatrace.doctor.findings import DoctorFinding, Level

_MARKS: Final[dict[Level, str]] = {"ok": "ok", "note": "note", "wrong": "WRONG", "unknown": "UNKNOWN"}
#: Findings are shown by severity.
_ORDER: Final[tuple[Level, ...]] = ("wrong", "unknown", "note", "ok")


def _plain(_level: Level, mark: str) -> str:
    return mark


@dataclass(frozen=True)
class Diagnosis:
    """The effective settings with secrets masked, and the findings in order of discovery."""

    settings: tuple[ExplainedSetting, ...]
    findings: tuple[DoctorFinding, ...]

    @property
    def exit_code(self) -> int:
        """1 if anything is wrong, else 3 if a check could not run, else 0."""
        levels = {found.level for found in self.findings}
        return 1 if "wrong" in levels else 3 if "unknown" in levels else 0

    def as_json(self) -> str:
        whole = {
            "exit_code": self.exit_code,
            "settings": [line._asdict() for line in self.settings],
            "findings": [asdict(found) for found in self.findings],
        }
        return json.dumps(whole, ensure_ascii=False)

    def lines(self, *, everything: bool = False, mark: Callable[[Level, str], str] = _plain) -> Iterator[str]:
        """The diagnosis as text lines: the verdict, the findings by severity, the settings that were set.

        `everything` adds details and defaults; `mark` styles the mark of a level.
        """
        yield self._verdict()
        yield ""
        shown = [found for found in self.findings if everything or not found.detail]
        for found in sorted(shown, key=lambda found: _ORDER.index(found.level)):
            yield f"{mark(found.level, f'{_MARKS[found.level]:<7}')}  {found.text}"
            if found.advice:
                yield f"{'':<7}  -> {found.advice}"
        settings = [line for line in self.settings if everything or line.source not in (DEFAULT, KEYWORD)]
        if settings:
            width = max(len(line.setting) for line in settings)
            yield ""
            yield "settings:" if everything else "settings that are not at their default:"
            for line in settings:
                yield f"  {line.setting:<{width}}  {line.value or '-'}  ({line.source})"
        if not everything:
            yield ""
            yield "--all shows every setting and every check that passed"

    def _verdict(self) -> str:
        counts = {level: sum(found.level == level for found in self.findings) for level in _MARKS}
        parts = [f"{counts['wrong']} wrong", f"{counts['note']} noted", f"{counts['ok']} ok"]
        if counts["unknown"]:
            parts.insert(1, f"{counts['unknown']} not checked")
        return f"doctor: {', '.join(parts)} (exit code {self.exit_code})"
