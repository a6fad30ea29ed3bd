"""The result of an examination, rendered as text or as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

from somatrace.config import ExplainedSetting
from somatrace.doctor.findings import DoctorFinding

_MARKS: Final = {"ok": "ok", "note": "note", "wrong": "WRONG", "unknown": "UNKNOWN"}


@dataclass(frozen=True)
class Diagnosis:
    """The effective settings with secrets masked, and the findings in order of discovery."""

    settings: tuple[ExplainedSetting, ...]
    findings: tuple[DoctorFinding, ...]

    @property
    def exit_code(self) -> int:
        """1 if anything is wrong, else 2 if a check could not run, else 0."""
        levels = {found.level for found in self.findings}
        return 1 if "wrong" in levels else 2 if "unknown" in levels else 0

    def as_json(self) -> str:
        whole = {
            "exit_code": self.exit_code,
            "settings": [line._asdict() for line in self.settings],
            "findings": [asdict(found) for found in self.findings],
        }
        return json.dumps(whole, ensure_ascii=False)

    def lines(self) -> Iterator[str]:
        """The diagnosis as text lines."""
        width = max((len(line.setting) for line in self.settings), default=0)
        for line in self.settings:
            yield f"{line.setting:<{width}}  {line.value or '-'}  ({line.source})"
        yield ""
        for found in self.findings:
            yield f"{_MARKS[found.level]:<7}  {found.text}"
            if found.advice:
                yield f"{'':<7}  -> {found.advice}"
        yield ""
        yield self._summary()

    def _summary(self) -> str:
        counts = {level: sum(found.level == level for found in self.findings) for level in _MARKS}
        summary = f"{counts['wrong']} wrong, {counts['note']} noted"
        unknown = f", {counts['unknown']} not checked" if counts["unknown"] else ""
        return f"doctor: {summary}{unknown} (exit code {self.exit_code})"
