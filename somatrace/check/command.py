"""The command `somatrace check`."""

from __future__ import annotations

import argparse
import gc
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from somatrace.check import fixer, report, settings, suppressions
from somatrace.check.cache import cached
from somatrace.check.checker import CheckReport, check
from somatrace.check.project.file_tree import FileTree
from somatrace.check.rules import catalogue

_STACK = 512 * 1024 * 1024
_DEPTH = 100_000


class _Parser(argparse.ArgumentParser):
    """argparse, with errors on one line."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"somatrace check: {message} (see `somatrace check --help`)\n")
        raise SystemExit(2)


def main(arguments: list[str] | None = None) -> int:
    """Run the command. 0: every process is traced; 1: findings; 2: the check could not run."""
    try:
        given = _parser().parse_args(arguments)
        return _run(given)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 2
    except KeyboardInterrupt:
        return 130
    except settings.SettingsError as error:
        sys.stderr.write(f"somatrace check: {error}\n")
    except BrokenPipeError:
        return 1
    except OSError as error:
        sys.stderr.write(f"somatrace check: {error.filename or 'a file'}: {error.strerror}\n")
    except Exception as error:
        sys.stderr.write(f"somatrace check: internal error, {type(error).__name__}: {error}\n")
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="somatrace check",
        description="Find services that would run untraced. Nothing from the tree is imported or run.",
    )
    parser.add_argument("paths", nargs="*", default=["."], metavar="PATH", help="roots to check (default: .)")
    parser.add_argument(
        "--format", choices=tuple(report.FORMATS), default="full", help="output format (default: full)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write to FILE instead of standard output"
    )
    parser.add_argument("--select", metavar="CODES", help="report only these codes, separated by commas")
    parser.add_argument("--ignore", metavar="CODES", help="skip these codes, separated by commas")
    parser.add_argument("--explain", metavar="CODE", help="explain a code")
    parser.add_argument(
        "--list", action="store_true", help="list every process: its launcher and where it is traced"
    )
    parser.add_argument(
        "--json", action="store_true", help="same as --format json; with --list, print the list as JSON"
    )
    parser.add_argument("--no-cache", action="store_true", help="do not read or write .somatrace_cache")
    parser.add_argument(
        "--write-baseline", metavar="FILE", help="accept the current findings and write them to FILE"
    )
    parser.add_argument("--fix", action="store_true", help="add a missing call where its place is obvious")
    return parser


def _run(given: argparse.Namespace) -> int:
    if given.explain:
        code = given.explain.upper()
        sys.stdout.write(
            catalogue.explained(
                settings.codes([code], "--explain")[0] if code in catalogue.RULES else _no(code)
            )
        )
        return 0
    worst = 0
    for name in given.paths:
        root = Path(name)
        if not root.is_dir():
            sys.stderr.write(f"somatrace check: {name} is not a directory\n")
            return 2
        worst = max(worst, _one(root, given))
    return worst


def _no(code: str) -> str:
    settings.codes([code or "?"], "--explain")
    raise settings.SettingsError(
        f"--explain: unknown rule `{code}`; known rules are {', '.join(catalogue.RULES)}"
    )


def _one(root: Path, given: argparse.Namespace) -> int:
    wanted = _wanted(settings.read(root), given)
    found = _deeply(root, wanted, fresh=given.no_cache)
    if given.fix:
        found = _fixed(root, wanted, found)
    if given.write_baseline:
        accepted = suppressions.apply(root, found, replace(wanted, baseline="")).findings
        (root / given.write_baseline).write_text(suppressions.written(accepted), encoding="utf-8")
        wanted = replace(wanted, baseline=given.write_baseline)
    kept = suppressions.apply(root, found, wanted)
    if given.list:
        text = report.listing(found, as_json=given.json)
    else:
        text = report.FORMATS["json" if given.json else given.format](kept, root, _color(given))
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    return 1 if kept.findings else 0


def _fixed(root: Path, wanted: settings.CheckSettings, found: CheckReport) -> CheckReport:
    """Fix, check again, and revert each file that is left with a new finding."""
    taken = {process.service_name for process in found.processes}
    before = fixer.fix(root, suppressions.apply(root, found, replace(wanted, baseline="")).findings, taken)
    again = _deeply(root, wanted, fresh=True)
    new = [finding for finding in again.findings if finding not in found.findings]
    worse = {finding.path for finding in new}
    wrong = [path for path in before if path in worse or worse - set(before)]
    for path in wrong:
        (root / path).write_bytes(before[path])
        left = next(one for one in new if one.path == path or one.path not in before)
        sys.stderr.write(
            f"not fixed {path}: a call there would cause {left.code} at {left.path}:{left.line}\n"
        )
    for path in sorted(set(before) - set(wrong)):
        sys.stderr.write(f"fixed {path}\n")
    return _deeply(root, wanted, fresh=True) if wrong else again


def _wanted(read: settings.CheckSettings, given: argparse.Namespace) -> settings.CheckSettings:
    return replace(
        read,
        select=read.select if given.select is None else _codes(given.select, "--select"),
        ignore=read.ignore if given.ignore is None else _codes(given.ignore, "--ignore"),
    )


def _codes(text: str, option: str) -> tuple[str, ...]:
    return settings.codes([code.strip() for code in text.split(",")], option)


def _color(given: argparse.Namespace) -> bool:
    return given.output is None and sys.stdout.isatty()


def _deeply(root: Path, wanted: settings.CheckSettings, *, fresh: bool) -> CheckReport:
    """Check on a thread with a deep stack: generated code nests deeper than handwritten code."""
    found: list[CheckReport] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.append(
                check(FileTree(root, wanted.exclude), wanted) if fresh else cached(root, wanted, check)
            )
        except BaseException as error:
            failed.append(error)

    limit, stack = sys.getrecursionlimit(), threading.stack_size(_STACK)
    sys.setrecursionlimit(_DEPTH)
    gc.disable()
    try:
        thread = threading.Thread(target=work, name="somatrace check", daemon=True)
        thread.start()
        thread.join()
    finally:
        gc.enable()
        threading.stack_size(stack)
        sys.setrecursionlimit(limit)
    if failed:
        raise failed[0]
    return found[0]
