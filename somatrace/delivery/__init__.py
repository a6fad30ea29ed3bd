"""Delivery of guarded spans to the configured target, with every lost span counted."""
