"""Where a journal's segments are: in the data directory, a directory for each service and target."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from somatrace.spool.spool_directory import make_room, open_directory, open_spool

#: In the data directory.
UNSENT: Final = "unsent"


def directory_of(data_dir: Path, owner: Mapping[str, str], place: str = UNSENT) -> Path:
    """The directory of one service and target. `owner` describes both, without secrets."""
    described = json.dumps(dict(owner), sort_keys=True).encode()
    return data_dir / place / hashlib.sha256(described).hexdigest()[:16]


def open_segments(directory: Path, *, create: bool) -> int:
    """A descriptor of the directory of segments, to which no link leads. Raises `OSError`."""
    for path in (directory.parent, directory):
        if create:
            path.mkdir(0o700, exist_ok=True)
        os.close(open_directory(path))
    return open_spool(directory, create=create)


def expired_others(directory: Path, now_ns: int, max_days: float) -> Iterator[Counter[str]]:
    """Apply the age limit to what services and targets have left that are gone; yields deleted spans."""
    with contextlib.suppress(OSError):
        for other in directory.parent.iterdir():
            if other == directory or other.is_symlink():
                continue
            with contextlib.suppress(OSError):
                spool = open_spool(other, create=False)
                try:
                    deleted = make_room(spool, 0, most=1 << 62, max_days=max_days, now_ns=now_ns)
                finally:
                    os.close(spool)
                if deleted:
                    yield deleted
