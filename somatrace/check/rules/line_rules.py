"""Apply the rules about single lines to the code of each service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from somatrace.check.launch.discover import service_of
from somatrace.check.project.file_tree import FileTree, is_test
from somatrace.check.project.source import Sources, UnparsableError
from somatrace.check.rules import line_scanner, st021_content_switch, st091_stale
from somatrace.check.rules.finding import Finding


@dataclass(slots=True)
class ServiceCode:
    """The Python files of each service, and the findings in their lines."""

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
        """Findings in the lines of a service, and an ST091 for each suppression, in case it is stale.

        A whole directory under `services/` counts; elsewhere the top package of each entrypoint.
        """
        tops = {_top(path, service) for path in entrypoints}
        for path in self.of(service):
            if service.startswith("services/") or _top(path, service) in tops:
                yield from self._scanned(path, service)
                yield from st091_stale.comments(path, service, self.tree, self.sources)

    def _scanned(self, path: str, service: str) -> Iterator[Finding]:
        if not self.sources.matches(path, line_scanner.WORTH_PARSING):
            return
        try:
            hits, _ = line_scanner.scan(self.sources.parse(path), path)
        except UnparsableError:
            return
        for hit in hits:
            place, rule = hit.place, hit.rule
            message = rule.message.format(what=hit.what)
            source = self.sources.line(path, place.line)
            yield Finding(
                path, place.line, rule.code, place.column, message, rule.advice, (), service, source
            )

    def switches(self, image: str) -> Iterator[Finding]:
        """Content switches that a Dockerfile turns on."""
        return st021_content_switch.image_findings(image, self.tree.text(image) or "", self.sources)


def _top(path: str, service: str) -> str:
    inner = path[len(service) + 1 :] if service else path
    head, slash, _ = inner.partition("/")
    return head if slash else ""
