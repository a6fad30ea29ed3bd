"""Fixtures: a real server on a real socket, and OTLP requests built with the stock protobuf classes."""

from tests.support.local_server import (
    export,
    server,
    shared_server,
    sink,
    start_lasting_server,
    start_server,
    store,
)

__all__ = ["export", "server", "shared_server", "sink", "start_lasting_server", "start_server", "store"]
