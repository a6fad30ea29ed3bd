"""Decoding OTLP into the rows of the local store, and encoding them again."""
