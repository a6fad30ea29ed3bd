"""Receiving spans over HTTP, or directly from the process that created them."""
