"""The SDK's own tests, from the source distribution of the installed version, and what they import.

Files come from the package index with the hashes of the lock for that version, and are kept in `build/`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks.differential.sources import pinned

ROOT: Final = Path(__file__).resolve().parents[2]
_LOCKS: Final = ("requirements-sdk-tests.lock", "requirements-sdk-tests-lowest.lock")
_SDK: Final = "opentelemetry-sdk"
_UTILITIES: Final = "opentelemetry-test-utils"


def sources() -> Path:
    """A folder with `tests` of the installed SDK, and their imports in `utilities`."""
    installed = version(_SDK)
    target = ROOT / "build" / "sdk-tests" / installed
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as directory:
            made = Path(directory, "made")
            _unpack(_lock(installed), Path(directory), made)
            try:
                made.rename(target)
            except OSError:  # another process was faster
                if not target.exists():
                    raise
    return target


def _lock(installed: str) -> str:
    """The text of the lock with the installed version of the SDK."""
    texts = [(ROOT / "ci" / "locks" / name).read_text() for name in _LOCKS]
    for text in texts:
        if pinned(_SDK, text)[0] == installed:
            return text
    raise SystemExit(f"opentelemetry-sdk {installed} is in none of {', '.join(_LOCKS)}: run `make lock`")


def _unpack(lock: str, folder: Path, made: Path) -> None:
    with tarfile.open(_download(_SDK, lock, folder, "--no-binary", "--no-build-isolation")) as archive:
        archive.extractall(folder / "sdk", filter="data")
    (source,) = (folder / "sdk").iterdir()
    for name in ("__init__.py", "conftest.py", "trace"):
        found, kept = source / "tests" / name, made / "tests" / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if found.is_dir() else shutil.copyfile)(found, kept)
    with zipfile.ZipFile(_download(_UTILITIES, lock, folder, "--only-binary")) as wheel:
        wheel.extractall(made / "utilities")  # noqa: S202, its hash was checked


def _download(package: str, lock: str, folder: Path, kind: str, *options: str) -> Path:
    downloads = folder / package
    downloads.mkdir()
    listed = folder / f"{package}.txt"
    listed.write_text(pinned(package, lock)[1] + "\n")
    command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
    command += [*options, kind, package, "--require-hashes", "-r", str(listed), "-d", str(downloads)]
    subprocess.run(command, check=True)
    (file,) = downloads.iterdir()
    return file
