"""The embedded local target: an ingest server, a store and a web page on this machine.

`ingest.segment_ingest` takes in what services have written to files; `server` serves OTLP, Langfuse's
read-back calls and the page on 127.0.0.1.
"""
