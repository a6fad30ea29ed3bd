"""Look up and validate settings. The first source that sets one decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from somatrace.config.config_fields import ConfigFields
from somatrace.config.environment import Environment, FoundVariable
from somatrace.config.parsers import BadValueError, Parser
from somatrace.config.settings import Problem
from somatrace.config.specs import BY_NAME, SettingSpec, SettingVariable

KEYWORD = "keyword"
DEFAULT = "default"


class SettingCandidate(NamedTuple):
    """One source of a setting's value. `raw` is None for a file that cannot be read."""

    raw: object
    source: str
    name: str
    parse: Parser

    @property
    def is_ours(self) -> bool:
        """Set for somatrace itself, in code or as `SOMATRACE_*`, not for OpenTelemetry or Langfuse."""
        return self.name == KEYWORD or self.name.startswith("SOMATRACE_")

    @property
    def rank(self) -> int:
        """Precedence of the source: 0 for code, 1 for `SOMATRACE_*`, 2 for variables of other tools."""
        return 0 if self.name == KEYWORD else 1 if self.is_ours else 2


class SettingsReader:
    """Reads settings and records their sources, the variables used and the problems."""

    def __init__(self, config: ConfigFields | None, process: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.sources: dict[str, str] = {}
        self.used: set[str] = set()
        self.config = config
        self.environment = Environment(process, self.report)

    def report(self, setting: str, message: str) -> str:
        """Record a problem, once, and return its line."""
        problem = Problem(setting, message)
        if problem not in self.problems:
            self.problems.append(problem)
        return str(problem)

    def problem_of(self, name: str) -> str:
        """The first problem with the source of a setting, "" if there is none."""
        label = self.label(name)
        return next((str(problem) for problem in self.problems if problem.setting == label), "")

    def candidates(self, name: str, *, ours: bool = False) -> list[SettingCandidate]:
        """The sources of a setting in order of precedence; `ours`: only those set for somatrace."""
        return [one for one in self._candidates(BY_NAME[name]) if one.is_ours or not ours]

    def _candidates(self, spec: SettingSpec) -> Iterator[SettingCandidate]:
        keyword = getattr(self.config, spec.name, None)
        if keyword is not None:
            yield SettingCandidate(keyword, KEYWORD, KEYWORD, spec.parse)
        for variable in spec.variables:
            if found := self.environment.get(variable.name):
                yield SettingCandidate(found.value, found.source, variable.name, variable.parse or spec.parse)

    def read(self, name: str, *, ours: bool = False) -> Any:
        """The validated value of a setting: the first candidate's, the safe value, or the default."""
        spec, candidates = BY_NAME[name], self.candidates(name, ours=ours)
        if not candidates:
            self.sources[name] = DEFAULT
            return spec.default
        first = candidates[0]
        self.sources[name] = first.source
        self.used.add(first.name)
        value = self._checked(name, first)
        self._compare(first, value, candidates[1:])
        return value

    def _checked(self, name: str, candidate: SettingCandidate) -> Any:
        """The candidate's value or its usable part; anything wrong with it becomes a problem."""
        spec = BY_NAME[name]
        if candidate.raw is None:
            return spec.safe
        try:
            return candidate.parse(candidate.raw)
        except BadValueError as bad:
            self.report(self.label(name), str(bad))
            return bad.kept_or(spec.safe)

    def variable(self, name: str, parse: Parser, safe: Any) -> Any:
        """The validated value of one variable; `safe` if it cannot be used, None if it is not set."""
        found = self.environment.get(name)
        if found is None or found.value is None:
            return None
        self.used.add(name)
        try:
            return parse(found.value)
        except BadValueError as bad:
            self.report(found.source, str(bad))
            return bad.kept_or(safe)

    def label(self, name: str) -> str:
        """The name of a setting's source in problem lines."""
        source = self.sources[name]
        return f"Config.{name}" if source == KEYWORD else source

    def found(self, name: str) -> FoundVariable | None:
        """A variable and its value, or None if it is not set."""
        return self.environment.get(name)

    def _compare(self, first: SettingCandidate, value: object, others: list[SettingCandidate]) -> None:
        """Report each variable of another tool that contradicts the one in use.

        A setting given in code or as `SOMATRACE_*` overrides others on purpose, and a signal-specific
        `OTEL_*` variable overrides the general one.
        """
        for other in others:
            if first.is_ours or (first.name.startswith("OTEL_") and other.name.startswith("OTEL_")):
                continue
            try:
                agrees = other.raw is None or other.parse(other.raw) == value
            except BadValueError:
                agrees = False
            if not agrees:
                self.report(other.name, f"contradicts {first.name}, which is used: keep one of them")


def known_variables() -> Iterator[tuple[str, SettingVariable]]:
    """Every variable in the table, with the name of its setting."""
    for spec in BY_NAME.values():
        for variable in spec.variables:
            yield spec.name, variable
