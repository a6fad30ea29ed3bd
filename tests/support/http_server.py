"""What the HTTP servers of the tests have in common."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler


class PromptHandler(BaseHTTPRequestHandler):
    """Keeps connections open, answers without a pause, and logs nothing."""

    protocol_version = "HTTP/1.1"
    # head and body are two packets: else the body would wait up to 40 ms until the client confirms the head
    disable_nagle_algorithm = True

    def log_message(self, *args: object) -> None:
        """Log nothing."""
