"""Fixtures: a real local server on a real socket, and OTLP requests to it."""

from tests.support.local_server import export, server, start_server

__all__ = ["export", "server", "start_server"]
