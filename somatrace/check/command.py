"""The command `somatrace check`."""

from __future__ import annotations

import argparse
import gc
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from somatrace.check import fixer, report, settings, suppressions
from somatrace.check.cache import cached
from somatrace.check.checker import CheckReport, check
from somatrace.check.foreign_text import complain, write
from somatrace.check.project.contained_files import place_in, write_file, write_output
from somatrace.check.project.file_tree import FileTree
from somatrace.check.rules import catalogue

_STACK = 512 * 1024 * 1024
_DEPTH = 100_000


class _HelpFormatter(argparse.HelpFormatter):
    """Help in the style of the other commands."""

    def add_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, "Usage: " if prefix is None else prefix)


class _Parser(argparse.ArgumentParser):
    """argparse, with errors on one line."""

    def error(self, message: str) -> NoReturn:
        complain(f"somatrace check: {message} (see `somatrace check --help`)")
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
        complain(f"somatrace check: {error}")
    except BrokenPipeError:
        return 1
    except OSError as error:
        complain(f"somatrace check: {error.filename or 'a file'}: {error.strerror}")
    except Exception as error:
        complain(f"somatrace check: internal error, {type(error).__name__}: {error}")
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="somatrace check",
        usage="%(prog)s [OPTIONS] [PATH]...",
        description="Find services that would run untraced. Nothing from the tree is imported or run. "
        "Exit codes: 0 every process is traced, 1 findings, 2 bad input.",
        formatter_class=_HelpFormatter,
        add_help=False,
    )
    arguments = parser.add_argument_group("Arguments")
    arguments.add_argument(
        "paths", nargs="*", default=["."], metavar="PATH", help="Roots to check (default: .)."
    )
    options = parser.add_argument_group("Options")
    options.add_argument(
        "--format", choices=tuple(report.FORMATS), default="full", help="Output format (default: full)."
    )
    options.add_argument(
        "--output", type=Path, metavar="FILE", help="Write to FILE instead of standard output."
    )
    options.add_argument("--select", metavar="CODES", help="Report only these codes, separated by commas.")
    options.add_argument("--ignore", metavar="CODES", help="Skip these codes, separated by commas.")
    options.add_argument("--explain", metavar="CODE", help="Explain a code.")
    options.add_argument(
        "--list", action="store_true", help="List every process: its launcher and where it is traced."
    )
    options.add_argument(
        "--json", action="store_true", help="Same as --format json; with --list, print the list as JSON."
    )
    options.add_argument("--no-cache", action="store_true", help="Do not read or write .somatrace_cache.")
    options.add_argument(
        "--write-baseline", metavar="FILE", help="Accept the current findings and write them to FILE."
    )
    options.add_argument("--fix", action="store_true", help="Add a missing call where its place is obvious.")
    options.add_argument("-h", "--help", action="help", help="Show this message and exit.")
    return parser


def _run(given: argparse.Namespace) -> int:
    if given.explain:
        code = given.explain.upper()
        known = settings.codes([code], "--explain")[0] if code in catalogue.RULES else _no(code)
        write(sys.stdout, catalogue.explained(known))
        return 0
    worst = 0
    for name in given.paths:
        root = Path(name)
        if not root.is_dir():
            complain(f"somatrace check: {name} is not a directory")
            return 2
        worst = max(worst, _one(root.resolve(), given))
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
        name = _in_tree(root, given.write_baseline)
        write_file(str(root), name, suppressions.written(accepted).encode())
        wanted = replace(wanted, baseline=name)
    kept = suppressions.apply(root, found, wanted)
    if given.list:
        text = report.listing(found, as_json=given.json)
    else:
        text = report.FORMATS["json" if given.json else given.format](kept, root, _color(given))
    if given.output:
        write_output(str(root), str(given.output), text.encode())
    else:
        write(sys.stdout, text)
    return 1 if kept.findings else 0


def _fixed(root: Path, wanted: settings.CheckSettings, found: CheckReport) -> CheckReport:
    """Fix, check again, and revert each file that is left with a new finding."""
    taken = {process.service_name for process in found.processes}
    fixed = fixer.fix(root, suppressions.apply(root, found, replace(wanted, baseline="")).findings, taken)
    before = fixed.before
    for path, reason in fixed.refused.items():
        complain(f"not fixed {path}: {reason}")
    again = _deeply(root, wanted, fresh=True)
    new = [finding for finding in again.findings if finding not in found.findings]
    worse = {finding.path for finding in new}
    wrong = [path for path in before if path in worse or worse - set(before)]
    for path in wrong:
        write_file(str(root), path, before[path])
        left = next(one for one in new if one.path == path or one.path not in before)
        complain(f"not fixed {path}: a call there would cause {left.code} at {left.path}:{left.line}")
    for path in sorted(set(before) - set(wrong)):
        complain(f"fixed {path}")
    return _deeply(root, wanted, fresh=True) if wrong else again


def _in_tree(root: Path, name: str) -> str:
    """A path given relative to the root, or below it. Raises SettingsError for one that leads elsewhere."""
    inner = place_in(str(root), str(root / name))
    if not inner:
        raise settings.SettingsError(f"the baseline {name} is not below {root}")
    return inner


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
