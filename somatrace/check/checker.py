"""Check a source tree: follow its processes, apply the rules, report findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from somatrace.check.launch import discover
from somatrace.check.launch.around import Launch, LaunchOrigin
from somatrace.check.launch.discover import Inventory, service_of
from somatrace.check.parallel import spread
from somatrace.check.project.file_tree import FileState, FileTree, is_test
from somatrace.check.project.source import Sources, UnparsableError
from somatrace.check.rules import (
    line_scanner,
    process_verdict,
    st011_same_name,
    st040_no_entrypoint,
    st091_stale,
)
from somatrace.check.rules.finding import Finding
from somatrace.check.rules.line_rules import ServiceCode
from somatrace.check.rules.process_verdict import ProcessVerdict
from somatrace.check.run.machine import CodePlace
from somatrace.check.run.process import ProcessStart, RunOutcome, run
from somatrace.check.settings import CheckSettings

#: The fewest launches worth a forked process: each takes a few milliseconds.
_LEAST = 50


@dataclass(frozen=True, slots=True)
class CheckedProcess:
    """One process of the tree: its entrypoint, its launcher, its service name and the call that traces it."""

    service: str
    entrypoint: str
    launched_by: str
    service_name: str
    traced_in: str
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Every process with its verdict, all findings in order, and every suppression, in case it is stale."""

    processes: tuple[CheckedProcess, ...]
    findings: tuple[Finding, ...]
    noqas: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Followed:
    """A launch, its service, and its outcome; None if it cannot be followed."""

    launch: Launch
    service: str
    outcome: RunOutcome | None

    @property
    def path(self) -> str:
        found = self.outcome.found if self.outcome is not None else None
        return found.path if found is not None else ""


@dataclass(frozen=True, slots=True)
class _Part:
    """The results of one part of the launches, and the files read for it."""

    followed: list[_Followed]
    lines: list[Finding]
    read: Mapping[str, FileState]
    probed: Mapping[str, bool]


def check(tree: FileTree, settings: CheckSettings) -> CheckReport:
    """Check one tree. Reads its files and runs none of them."""
    sources = Sources(tree, settings.wrappers)
    inventory = discover.discover(tree, settings.entrypoints)
    checker = _Checker(tree, sources, ServiceCode(tree, sources), settings)
    followed, lines = checker.spread(inventory.launches)
    if not followed:
        followed, lines = checker.spread(inventory.assumed)
    followed = _without_phantoms(followed)
    done = {call.place for one in followed if one.outcome for call in one.outcome.ledger.inits}
    verdicts = tuple(checker.verdict(one, done) for one in followed)
    seen = {process.service for process in verdicts}
    lines += checker.rest(inventory, seen)
    findings = [finding for process in verdicts for finding in process.findings]
    findings += (finding for finding in lines if finding.code != st091_stale.RULE.code)
    findings += checker.silent(inventory, seen)
    findings += st011_same_name.findings(verdicts, sources)
    noqas = tuple(dict.fromkeys(finding for finding in lines if finding.code == st091_stale.RULE.code))
    return CheckReport(tuple(map(_process, verdicts)), tuple(_distinct(findings)), noqas)


def _without_phantoms(followed: list[_Followed]) -> list[_Followed]:
    """Without entrypoints by convention that a launched process of the same service serves or runs."""
    launched: dict[tuple[str, str], set[str]] = {}
    for one in followed:
        if one.outcome is not None and one.launch.origin.line:
            for path in one.outcome.ledger.modules:
                launched.setdefault((one.service, path), set()).update(one.outcome.ledger.served)
    return [one for one in followed if not _is_phantom(one, launched)]


def _is_phantom(one: _Followed, launched: Mapping[tuple[str, str], set[str]]) -> bool:
    """Whether another process loads this module and, if it holds an application, serves one of its class."""
    if one.launch.origin.text != "convention" or one.launch.origin.line or one.outcome is None:
        return False
    served = launched.get((one.service, one.path))
    if served is None:
        return False
    return one.launch.start.kind != "import" or not served.isdisjoint(one.outcome.ledger.served)


def _process(verdict: ProcessVerdict) -> CheckedProcess:
    origin = verdict.launch.origin
    text = " ".join(origin.text.split())
    launched = f"{origin.path}:{origin.line}: {text}" if origin.line else text
    traced = f"{verdict.traced.path}:{verdict.traced.line}" if verdict.traced is not None else ""
    codes = tuple(sorted({finding.code for finding in verdict.findings}))
    return CheckedProcess(verdict.service, verdict.path, launched, verdict.name, traced, codes)


def _distinct(findings: list[Finding]) -> list[Finding]:
    """One finding per code and line, however many processes lead to it."""
    found: dict[tuple[str, int, str], Finding] = {}
    for finding in findings:
        found.setdefault((finding.path, finding.line, finding.code), finding)
    return sorted(found.values())


@dataclass(slots=True)
class _Checker:
    tree: FileTree
    sources: Sources
    code: ServiceCode
    settings: CheckSettings

    def spread(self, launches: Sequence[Launch]) -> tuple[list[_Followed], list[Finding]]:
        """Follow every process, and scan the lines of its service."""
        followed: list[_Followed] = []
        lines: list[Finding] = []
        for part, elsewhere in spread(self._part, launches, _LEAST):
            followed += part.followed
            lines += part.lines
            if elsewhere:
                self.tree.learn(part.read, part.probed)
        return followed, lines

    def _part(self, launches: Sequence[Launch]) -> _Part:
        followed = list(self._follow(launches))
        lines: list[Finding] = []
        for service in dict.fromkeys(one.service for one in followed if one.path or one.service):
            self.sources.forget()
            own = [one for one in followed if one.service == service]
            loaded = {path for one in own if one.outcome for path in one.outcome.ledger.modules}
            loaded.update(one.path for one in own if one.path)
            lines += self.code.findings(service, loaded)
        return _Part(followed, lines, self.tree.consulted(), self.tree.probed())

    def _follow(self, launches: Sequence[Launch]) -> Iterator[_Followed]:
        last = ""
        for launch in launches:
            service = service_of(launch.start.path or launch.origin.path, self.tree)
            if service != last:
                self.sources.forget()
                last = service
            if launch.problem:
                yield _Followed(launch, service, None)
            else:
                yield from self._family(launch, service)

    def _family(self, launch: Launch, service: str) -> Iterator[_Followed]:
        """A process and those it starts; one that keeps restarting itself is followed once."""
        waiting, known = [launch], {launch.start}
        while waiting:
            one = waiting.pop()
            outcome = run(one.start, self.tree, self.sources, self.settings.wrappers)
            path = outcome.found.path if outcome.found is not None else ""
            if one.if_it_works and not outcome.works:
                continue
            yield _Followed(one, service_of(path, self.tree) if path else service, outcome)
            children = [child for child in _children(one, outcome) if child.start not in known]
            known.update(child.start for child in children)
            waiting += reversed(children)

    def verdict(self, one: _Followed, done: set[CodePlace]) -> ProcessVerdict:
        """The verdict, given the calls that other processes make."""
        if one.outcome is None:
            return process_verdict.undecided(one.launch, one.service, self.sources)
        outcome = one.outcome
        if outcome.exhausted and not self._is_called_anywhere():
            outcome = replace(outcome, exhausted=False)
        written = tuple(self._written(one.service, outcome, done)) if not outcome.possible else ()
        return process_verdict.decide(one.launch, outcome, written, one.service, self.sources)

    def _is_called_anywhere(self) -> bool:
        """Whether a process that is too large to follow may call `init_tracing` at all."""
        if self.settings.wrappers:
            return True
        files = (path for path in self.tree.files if path.endswith(".py") and not is_test(path))
        return any(self.sources.mentions(path, b"init_tracing") for path in files)

    def _written(self, service: str, outcome: RunOutcome, done: set[CodePlace]) -> Iterator[CodePlace]:
        """Calls in this process's modules, and calls in the service that no process runs."""
        loaded = outcome.ledger.modules
        for path in dict.fromkeys([*loaded, *self.code.of(service)]):
            if self.sources.mentions(path, b"init_tracing"):
                try:
                    calls = line_scanner.scan(self.sources.parse(path), path)[1]
                except UnparsableError:
                    continue
                yield from (place for place in calls if path in loaded or place not in done)

    def rest(self, inventory: Inventory, seen: set[str]) -> Iterator[Finding]:
        """The lines of services without a process, and of images."""
        for service in inventory.silent:
            if service not in seen:
                self.sources.forget()
                yield from self.code.findings(service, set())
        for image in inventory.images:
            yield from self.code.switches(image)

    def silent(self, inventory: Inventory, seen: set[str]) -> Iterator[Finding]:
        for service in inventory.silent:
            if service in seen:
                continue
            yield from st040_no_entrypoint.findings(service, self.code.of(service), self.sources)


def _children(launch: Launch, outcome: RunOutcome) -> Iterator[Launch]:
    """Child processes that a supervisor starts: `uvicorn.run("m:app", workers=4)`."""
    for respawn in outcome.ledger.respawned:
        name, place = respawn.name, respawn.place
        module, _, attribute = name.partition(":")
        verb = "imports" if respawn.certain else "may import"
        start = ProcessStart(
            "import",
            module,
            attribute=attribute.partition("(")[0],
            roots=launch.start.roots,
            factory=attribute.endswith(")"),
            server="uvicorn",
        )
        yield Launch(
            LaunchOrigin(place.path, place.line, f"uvicorn {verb} {name} in child processes"),
            start,
            target=name,
        )
