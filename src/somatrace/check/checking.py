"""The whole check of a tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from posixpath import dirname

from somatrace.check import clients, judge, scanning
from somatrace.check.finding import Finding
from somatrace.check.judge import Judged
from somatrace.check.launch import discover, dockerfile
from somatrace.check.launch.around import Launch, Origin
from somatrace.check.launch.discover import Inventory, service_of
from somatrace.check.run.machine import Place
from somatrace.check.run.process import Outcome, Start, run
from somatrace.check.settings import Settings
from somatrace.check.source import Sources, UnparsableError
from somatrace.check.tree import Tree, is_test


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the tree: where it begins, what starts it, where it is traced and under which name."""

    service: str
    entrypoint: str
    launched_by: str
    service_name: str
    traced_in: str
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Every process with its verdict, all findings in order, and every suppression, in case it is stale."""

    processes: tuple[Process, ...]
    findings: tuple[Finding, ...]
    noqas: tuple[Finding, ...] = ()


def check(tree: Tree, settings: Settings) -> Report:
    """Check one tree. Reads its files and nothing else; runs nothing of it."""
    sources = Sources(tree, settings.wrappers)
    inventory = discover.discover(tree, settings.entrypoints)
    checker = _Checker(tree, sources, settings, _ours(tree))
    judged = tuple(checker.processes(inventory))
    findings = [finding for process in judged for finding in process.findings]
    findings += checker.silent(inventory)
    noqas: list[Finding] = []
    findings += checker.lines(judged, inventory, noqas)
    findings += _same_names(judged, sources)
    return Report(tuple(map(_process, judged)), tuple(_distinct(findings)), tuple(noqas))


def _process(judged: Judged) -> Process:
    origin = judged.launch.origin
    text = " ".join(origin.text.split())
    launched = f"{origin.path}:{origin.line}: {text}" if origin.line else "convention"
    traced = f"{judged.traced.path}:{judged.traced.line}" if judged.traced is not None else ""
    codes = tuple(sorted({finding.code for finding in judged.findings}))
    return Process(judged.service, judged.path, launched, judged.name, traced, codes)


def _ours(tree: Tree) -> str | None:
    """Where somatrace itself lies, when the tree is its own repository: that package is no shadow of it."""
    project = tree.text("pyproject.toml") or "" if tree.is_file("pyproject.toml") else ""
    if 'name = "somatrace"' in project and tree.is_file("src/somatrace/names.py"):
        return "src/somatrace"
    return None


def _distinct(findings: list[Finding]) -> list[Finding]:
    """One finding per code and place, whatever number of processes lead to it."""
    found: dict[tuple[str, int, str], Finding] = {}
    for finding in findings:
        found.setdefault((finding.path, finding.line, finding.code), finding)
    return sorted(found.values())


@dataclass(slots=True)
class _Checker:
    tree: Tree
    sources: Sources
    settings: Settings
    ours: str | None
    code: dict[str, list[str]] = field(default_factory=dict)

    def processes(self, inventory: Inventory) -> list[Judged]:
        """Follow every process, then judge each knowing what the others run."""
        followed: list[tuple[Launch, str, Outcome | None]] = []
        waiting = list(inventory.launches)
        last = ""
        while waiting:
            launch = waiting.pop(0)
            service = service_of(launch.start.path or launch.origin.path, self.tree)
            if service != last:
                self.sources.forget()
                last = service
            if launch.problem:
                followed.append((launch, service, None))
                continue
            outcome = run(launch.start, self.tree, self.sources, self.settings.wrappers, self.ours)
            path = outcome.found.path if outcome.found is not None else ""
            followed.append((launch, service_of(path, self.tree) if path else service, outcome))
            waiting.extend(_children(launch, outcome))
        done = {call.place for _, _, outcome in followed if outcome for call in outcome.ledger.inits}
        return [self._judged(launch, service, outcome, done) for launch, service, outcome in followed]

    def _judged(self, launch: Launch, service: str, outcome: Outcome | None, done: set[Place]) -> Judged:
        if outcome is None:
            return judge.undecided(launch, service, self.sources)
        written = tuple(self._written(service, outcome, done)) if not outcome.possible else ()
        return judge.judge(launch, outcome, written, service, self.sources)

    def _written(self, service: str, outcome: Outcome, done: set[Place]) -> Iterator[Place]:
        """Calls of ours in this process's modules, and those of the service that no process runs."""
        loaded = outcome.ledger.modules
        for path in dict.fromkeys([*loaded, *self._code(service)]):
            if self.sources.mentions(path, b"init_tracing"):
                try:
                    calls = scanning.scan(self.sources.parse(path), path)[1]
                except UnparsableError:
                    continue
                yield from (place for place in calls if path in loaded or place not in done)

    def _code(self, service: str) -> list[str]:
        """The Python files of a service, without its tests."""
        if not self.code:
            for path in self.tree.files:
                if path.endswith(".py") and not is_test(path):
                    self.code.setdefault(service_of(path, self.tree), []).append(path)
        return self.code.get(service, [])

    def silent(self, inventory: Inventory) -> Iterator[Finding]:
        for service in inventory.silent:
            user = next(
                (path for path in self._code(service) if self.sources.matches(path, clients.IMPORTS)), None
            )
            if user is not None:
                message = f"`{service}` uses a model client and has no entrypoint that is known"
                advice = "add a launcher, `app/main.py`, or list it in [tool.somatrace.check] entrypoints"
                yield Finding(user, 1, "ST040", 1, message, advice, (), service, self.sources.line(user, 1))

    def lines(
        self, processes: tuple[Judged, ...], inventory: Inventory, noqas: list[Finding]
    ) -> Iterator[Finding]:
        """Content and bypass rules, over the code of every service."""
        services = dict.fromkeys(process.service for process in processes if process.path or process.service)
        for service in [*services, *(name for name in inventory.silent if name not in services)]:
            self.sources.forget()
            for path in self._lines_of(service, processes):
                yield from self._scanned(path, service)
                noqas.extend(self._suppressions(path, service))
        for image in inventory.images:
            yield from self._switches(image)

    def _lines_of(self, service: str, processes: tuple[Judged, ...]) -> list[str]:
        """A whole directory under `services/`; elsewhere the top package of each entrypoint."""
        code = self._code(service)
        if service.startswith("services/"):
            return code
        tops = {
            _top(process.path, service)
            for process in processes
            if process.path and process.service == service
        }
        return [path for path in code if _top(path, service) in tops]

    def _scanned(self, path: str, service: str) -> Iterator[Finding]:
        if not self.sources.matches(path, scanning.WORTH_PARSING):
            return
        try:
            hits, _ = scanning.scan(self.sources.parse(path), path)
        except UnparsableError:
            return
        for hit in hits:
            place = hit.place
            source = self.sources.line(path, place.line)
            yield Finding(
                path,
                place.line,
                hit.code,
                place.column,
                _LINES[hit.code][0].format(hit.what),
                _LINES[hit.code][1],
                (),
                service,
                source,
            )

    def _suppressions(self, path: str, service: str) -> Iterator[Finding]:
        if not self.sources.matches(path, _SUPPRESSION):
            return
        for number, line in enumerate((self.tree.text(path) or "").split("\n"), 1):
            if _SUPPRESSION.search(line.encode("utf-8", "replace")):
                yield Finding(path, number, "ST091", service=service, source=line)

    def _switches(self, image: str) -> Iterator[Finding]:
        for stage in dockerfile.stages(self.tree.text(image) or ""):
            for name, value, line in stage.switches:
                if name in {"TRACE_CONTENT", "TRACELOOP_TRACE_CONTENT"} and scanning.is_on(value):
                    message, advice = _LINES["ST021"]
                    yield Finding(
                        image,
                        line,
                        "ST021",
                        1,
                        message.format(f"{name}={value}"),
                        advice,
                        (),
                        dirname(image),
                        self.sources.line(image, line),
                    )


_SUPPRESSION = re.compile(rb"#\s*noqa:[^\n#]*\bST\d{3}", re.IGNORECASE)
_LINES = {
    "ST020": ("`{}` asks for every tenant's prompts", "leave it out; open single tenants in the policy file"),
    "ST021": ("`{}` opens every tenant's prompts", "leave it out; open single tenants in the policy file"),
    "ST022": ("`{}` is raw content, put on a span by hand", "use somatrace's `content(input=, output=)`"),
    "ST030": (
        "{} sets up a pipeline that does not pass the guard",
        "remove it: `init_tracing` sends to the same place",
    ),
}


def _top(path: str, service: str) -> str:
    inner = path[len(service) + 1 :] if service else path
    head, slash, _ = inner.partition("/")
    return head if slash else ""


def _children(launch: Launch, outcome: Outcome) -> Iterator[Launch]:
    """Processes that a supervisor starts again: `uvicorn.run("m:app", workers=4)`."""
    for name, place in outcome.ledger.respawned:
        module, _, attribute = name.partition(":")
        start = Start(
            "import",
            module,
            attribute=attribute.partition("(")[0],
            roots=launch.start.roots,
            factory=attribute.endswith(")"),
        )
        yield Launch(
            Origin(place.path, place.line, f"uvicorn imports {name} in child processes"), start, target=name
        )


def _same_names(processes: tuple[Judged, ...], sources: Sources) -> Iterator[Finding]:
    first: dict[str, Judged] = {}
    for process in processes:
        if not process.name or process.traced is None:
            continue
        other = first.setdefault(process.name, process)
        if other.service != process.service:
            place = process.traced
            message = f'"{process.name}" is the name of {other.service or "the root project"} too'
            advice = "give every service a name of its own"
            yield Finding(
                place.path,
                place.line,
                "ST011",
                place.column,
                message,
                advice,
                (),
                process.service,
                sources.line(place.path, place.line),
            )
