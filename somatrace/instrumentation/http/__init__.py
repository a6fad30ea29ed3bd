"""Instrumentation of HTTP clients and ASGI servers."""
