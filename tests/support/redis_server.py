"""A Redis server on a Unix socket, which needs no free port."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import wait_until


@contextmanager
def redis_server(directory: Path) -> Iterator[Path]:
    """Run a server for the block; yields the path of its socket."""
    address = directory / "socket"
    options = ["--port", "0", "--unixsocket", str(address), "--save", "", "--dir", str(directory)]
    with subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL) as redis:
        try:
            wait_until(lambda: _listens(address))
            yield address
        finally:
            redis.terminate()


def _listens(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(address)) == 0
