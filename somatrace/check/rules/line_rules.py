"""The rules that look at lines rather than at runs: content, bypasses, switches, suppressions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from posixpath import dirname

from somatrace.check.launch import dockerfile
from somatrace.check.launch.discover import service_of
from somatrace.check.project.file_tree import FileTree, is_test
from somatrace.check.project.source import Sources, UnparsableError
from somatrace.check.rules import line_scanner
from somatrace.check.rules.finding import Finding

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


@dataclass(slots=True)
class ServiceCode:
    """The code of each service, and what its lines say."""

    tree: FileTree
    sources: Sources
    _paths: dict[str, list[str]] = field(default_factory=dict)

    def of(self, service: str) -> list[str]:
        """The Python files of a service, without its tests."""
        if not self._paths:
            for path in self.tree.files:
                if path.endswith(".py") and not is_test(path):
                    self._paths.setdefault(service_of(path, self.tree), []).append(path)
        return self._paths.get(service, [])

    def findings(self, service: str, entrypoints: set[str]) -> Iterator[Finding]:
        """What stands in the lines of a service. ST091 marks each suppression, in case it is stale.

        A whole directory under `services/` counts; elsewhere the top package of each entrypoint.
        """
        tops = {_top(path, service) for path in entrypoints}
        for path in self.of(service):
            if service.startswith("services/") or _top(path, service) in tops:
                yield from self._scanned(path, service)
                yield from self._suppressions(path, service)

    def _scanned(self, path: str, service: str) -> Iterator[Finding]:
        if not self.sources.matches(path, line_scanner.WORTH_PARSING):
            return
        try:
            hits, _ = line_scanner.scan(self.sources.parse(path), path)
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

    def switches(self, image: str) -> Iterator[Finding]:
        """Switches of content that a Dockerfile sets."""
        for stage in dockerfile.stages(self.tree.text(image) or ""):
            for name, value, line in stage.switches:
                if name in {"TRACE_CONTENT", "TRACELOOP_TRACE_CONTENT"} and line_scanner.is_on(value):
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


def _top(path: str, service: str) -> str:
    inner = path[len(service) + 1 :] if service else path
    head, slash, _ = inner.partition("/")
    return head if slash else ""
