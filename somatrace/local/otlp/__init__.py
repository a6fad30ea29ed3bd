"""Conversion between OTLP and the rows of the local store."""
