"""The last report of a tree in `.somatrace_cache/`, valid while every file it was made from is unchanged.

The file is signed with a key of the current user, which no file of the tree can be: a cache that comes with a
repository is ignored. It holds for one directory, and for files whose status has not changed either, because
an archive sets modification times.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from somatrace.check.checker import CheckedProcess, CheckReport
from somatrace.check.project.contained_files import UnreadableFileError, below, read_file, write_file
from somatrace.check.project.file_tree import FileTree
from somatrace.check.rules.finding import Finding
from somatrace.check.settings import CheckSettings
from somatrace.semconv import VERSION

FOLDER = ".somatrace_cache"
_FILE = f"{FOLDER}/check.json"
_IGNORED = f"{FOLDER}/.gitignore"
_FORMAT = 2
_KEY = "check.key"
_KEY_BYTES = 32
#: A file changed this shortly before it was read may have changed again with the same time stamp.
_RACY_NS = 2_000_000_000


def cached(
    root: Path, settings: CheckSettings, check: Callable[[FileTree, CheckSettings], CheckReport]
) -> CheckReport:
    """The cached report if it is still valid, otherwise a new one, which is cached."""
    began = time.time_ns()
    tree = FileTree(root, settings.exclude)
    key = _key(tree.root)
    if key is None:
        return check(tree, settings)
    held = _read(tree.root, key)
    if held is not None and held.get("key") == _described(tree, settings) and _same(tree, held):
        return _report(held["report"])
    report = check(tree, settings)
    _write(tree.root, key, _entry(tree, settings, report, began))
    return report


def _key(root: str) -> bytes | None:
    """The user's key, created at first use; None if there is no private place for it outside the tree."""
    with suppress(OSError, RuntimeError, UnreadableFileError):
        folder = os.path.realpath(Path("~/.cache/somatrace").expanduser())
        place = Path(folder, _KEY)
        if below(root, folder) is not None or below(root, os.path.realpath(place)) is not None:
            return None
        if not os.path.lexists(place):
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file(folder, _KEY, os.urandom(_KEY_BYTES), mode=0o600)
        found = read_file(folder, _KEY, _KEY_BYTES)
        private = found.status.st_uid == os.geteuid() and not found.status.st_mode & 0o077
        return found.data if private and len(found.data) == _KEY_BYTES else None
    return None


def _described(tree: FileTree, settings: CheckSettings) -> str:
    """A digest of versions, settings and paths: everything but the files' content."""
    digest = hashlib.sha256()
    made = (tree.root, VERSION, _FORMAT, sys.version_info[:3], sorted(asdict(settings).items()))
    digest.update(repr(made).encode())
    for path in (*tree.files, "\0", *tree.folders, "\0", *sorted(tree.odd)):
        digest.update(path.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _entry(tree: FileTree, settings: CheckSettings, report: CheckReport, began: int) -> dict[str, Any]:
    files = {path: astuple(state) for path, state in tree.consulted().items()}
    return {
        "key": _described(tree, settings),
        "began": began,
        "files": files,
        "probed": tree.probed(),
        "report": {
            "processes": [asdict(process) for process in report.processes],
            "findings": [asdict(finding) for finding in report.findings],
            "noqas": [asdict(finding) for finding in report.noqas],
        },
    }


def _same(tree: FileTree, held: dict[str, Any]) -> bool:
    """Whether every file read is unchanged, and every path looked up is still a file or still missing."""
    began = int(held["began"])
    for path, (size, changed, digest) in held["files"].items():
        now = tree.size_and_change_time(path)
        unchanged = now == (size, changed) and changed < began - _RACY_NS
        if not unchanged and (now[0] != size or tree.digest(path) != digest):
            return False
    return all(tree.is_file(path) == was_file for path, was_file in held["probed"].items())


def _report(held: dict[str, Any]) -> CheckReport:
    def finding(one: dict[str, Any]) -> Finding:
        return Finding(**{**one, "chain": tuple(one["chain"])})

    processes = tuple(CheckedProcess(**{**one, "codes": tuple(one["codes"])}) for one in held["processes"])
    return CheckReport(processes, tuple(map(finding, held["findings"])), tuple(map(finding, held["noqas"])))


def _read(root: str, key: bytes) -> dict[str, Any] | None:
    """The cached entry, if this user wrote it."""
    try:
        signature, _, body = read_file(root, _FILE).data.partition(b"\n")
        if not hmac.compare_digest(signature, hmac.new(key, body, hashlib.sha256).hexdigest().encode()):
            return None
        held = json.loads(body)
    except (UnreadableFileError, ValueError):
        return None
    return held if isinstance(held, dict) else None


def _write(root: str, key: bytes, entry: dict[str, Any]) -> None:
    """Write the entry; a tree whose cache directory is read-only or a link is checked anew each time."""
    body = json.dumps(entry).encode()
    signature = hmac.new(key, body, hashlib.sha256).hexdigest().encode()
    with suppress(OSError):
        if not os.path.lexists(f"{root}/{_IGNORED}"):
            write_file(root, _IGNORED, b"*\n", create_folders=True)
        write_file(root, _FILE, signature + b"\n" + body, mode=0o600)
