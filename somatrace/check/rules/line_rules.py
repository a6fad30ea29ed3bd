"""Apply the rules about single lines to the code of each service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from somatrace.check.launch.discover import service_of
from somatrace.check.project.file_tree import FileTree, beside, is_test
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

    def findings(self, service: str, loaded: set[str]) -> Iterator[Finding]:
        """Findings in the lines of a service, and an ST091 for each suppression, in case it is stale.

        A whole directory under `services/` counts; elsewhere the top packages of the modules that its
        processes load, and those that these import anywhere.
        """
        own = self.of(service)
        whole = service.startswith("services/")
        tops = set() if whole else self._imported(own, service, {_top(path, service) for path in loaded})
        wanted = [path for path in own if whole or _top(path, service) in tops]
        wanted += sorted(path for path in loaded.difference(own) if not is_test(path))
        for path in wanted:
            yield from self._scanned(path, service)
            yield from st091_stale.comments(path, service, self.tree, self.sources)

    def _imported(self, paths: list[str], service: str, tops: set[str]) -> set[str]:
        """The top packages of a service that these top packages lead to."""
        within: dict[str, list[str]] = {}
        for path in paths:
            within.setdefault(_top(path, service), []).append(path)
        found, waiting = set(tops), list(tops)
        while waiting:
            for path in within.get(waiting.pop(), ()):
                for imported in self.sources.imports(path):
                    name = imported.module.partition(".")[0] if not imported.level else ""
                    top = "src" if beside(service, f"src/{name}") in self.tree.folders else name
                    if name and top in within and top not in found:
                        found.add(top)
                        waiting.append(top)
        return found

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
