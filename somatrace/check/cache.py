"""The last report of a tree in `.somatrace_cache/`, valid while every file it was made from is unchanged.

The file is signed with a key of the current user, so that a cache committed to a repository is ignored.
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
from somatrace.check.project.file_tree import FileTree
from somatrace.check.rules.finding import Finding
from somatrace.check.settings import CheckSettings
from somatrace.semconv import VERSION

FOLDER = ".somatrace_cache"
_FORMAT = 1
_KEY_BYTES = 32
#: A file changed this shortly before it was read may have changed again with the same time stamp.
_RACY_NS = 2_000_000_000


def cached(
    root: Path, settings: CheckSettings, check: Callable[[FileTree, CheckSettings], CheckReport]
) -> CheckReport:
    """The cached report if it is still valid, otherwise a new one, which is cached."""
    began = time.time_ns()
    tree = FileTree(root, settings.exclude)
    place, key = root / FOLDER / "check.json", _key()
    if key is None:
        return check(tree, settings)
    held = _read(place, key)
    if held is not None and held.get("key") == _described(tree, settings) and _same(tree, held):
        return _report(held["report"])
    report = check(tree, settings)
    _write(place, key, _entry(tree, settings, report, began))
    return report


def _key() -> bytes | None:
    """The user's key, created at first use; None if the home directory is not writable."""
    place = Path("~/.cache/somatrace/check.key").expanduser()
    with suppress(OSError, RuntimeError):
        if not place.exists():
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = place.with_name(f".{place.name}.{os.getpid()}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.urandom(_KEY_BYTES))
            draft.replace(place)
        found = place.read_bytes()
        return found if len(found) == _KEY_BYTES else None
    return None


def _described(tree: FileTree, settings: CheckSettings) -> str:
    """A digest of versions, settings and paths: everything but the files' content."""
    digest = hashlib.sha256()
    digest.update(repr((VERSION, _FORMAT, sys.version_info[:3], sorted(asdict(settings).items()))).encode())
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
        now = tree.size_and_mtime(path)
        unchanged = now == (size, changed) and changed < began - _RACY_NS
        if not unchanged and (now[0] != size or tree.digest(path) != digest):
            return False
    return all(tree.is_file(path) == was_file for path, was_file in held["probed"].items())


def _report(held: dict[str, Any]) -> CheckReport:
    def finding(one: dict[str, Any]) -> Finding:
        return Finding(**{**one, "chain": tuple(one["chain"])})

    processes = tuple(CheckedProcess(**{**one, "codes": tuple(one["codes"])}) for one in held["processes"])
    return CheckReport(processes, tuple(map(finding, held["findings"])), tuple(map(finding, held["noqas"])))


def _read(place: Path, key: bytes) -> dict[str, Any] | None:
    """The cached entry, if this user wrote it."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            signature, _, body = file.read().partition(b"\n")
        if not hmac.compare_digest(signature, hmac.new(key, body, hashlib.sha256).hexdigest().encode()):
            return None
        held = json.loads(body)
    except (OSError, ValueError):
        return None
    return held if isinstance(held, dict) else None


def _write(place: Path, key: bytes, entry: dict[str, Any]) -> None:
    """Write atomically; a read-only tree is checked anew each time."""
    body = json.dumps(entry).encode()
    signature = hmac.new(key, body, hashlib.sha256).hexdigest().encode()
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    with suppress(OSError):
        place.parent.mkdir(exist_ok=True)
        (place.parent / ".gitignore").write_text("*\n", encoding="utf-8")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(signature + b"\n" + body)
        draft.replace(place)
