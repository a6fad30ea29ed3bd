"""A real server on a real socket, and OTLP requests made with the stock protobuf classes."""

from tests.support.local_server import export, server, shared_server, sink, start_server, store

__all__ = ["export", "server", "shared_server", "sink", "start_server", "store"]
