"""HTTP clients and ASGI servers."""
