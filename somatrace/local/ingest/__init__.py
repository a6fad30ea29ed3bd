"""Receiving spans, over HTTP or straight from the process that made them."""
