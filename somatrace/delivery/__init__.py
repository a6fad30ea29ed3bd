"""Delivery: guarded spans become bytes, and the bytes arrive at the one target or are counted."""
