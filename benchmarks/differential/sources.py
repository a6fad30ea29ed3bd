"""Source distributions, with the hashes of the development lock."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from benchmarks.differential.suites import Suite

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "ci" / "locks" / "requirements-differential.lock"


def pinned(library: str, lock: str) -> tuple[str, str]:
    """The version of the library in the lock, and its requirement with all hashes."""
    found = re.search(rf"^{re.escape(library)}==(\S+).*?(?=^\S|\Z)", lock, re.MULTILINE | re.DOTALL)
    if found is None:
        raise LookupError(f"{library} is not in {LOCK.name}")
    return found[1], re.sub(r"^ +#.*\n?", "", found[0], flags=re.MULTILINE).rstrip()


def download(suite: Suite, folder: Path) -> Path:
    """The folder of the unpacked source distribution, without the package itself."""
    version, requirement = pinned(suite.library, LOCK.read_text())
    target = folder / f"{suite.library}-{version}"
    if not target.exists():
        unpacked = folder / f"{suite.library}.unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir(parents=True)
        with tarfile.open(_archive(suite.library, requirement, folder)) as archive:
            archive.extractall(unpacked, filter="data")
        (source,) = unpacked.iterdir()
        shutil.rmtree(source / suite.package)
        source.rename(target)
        unpacked.rmdir()
    return target


def _archive(library: str, requirement: str, folder: Path) -> Path:
    downloads = folder / "downloads" / library
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir(parents=True)
    listed = downloads / "requirements.txt"
    listed.write_text(requirement + "\n")
    command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
    options = ["--no-binary", library, "--require-hashes", "-r", str(listed), "-d", str(downloads)]
    subprocess.run([*command, *options], check=True)
    return next(downloads.glob("*.tar.gz"))
