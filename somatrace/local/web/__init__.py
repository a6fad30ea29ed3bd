"""The web pages: request handlers, templates and static files."""
