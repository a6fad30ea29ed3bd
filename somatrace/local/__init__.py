"""The embedded local target: an ingest server, a store and a web page on this machine.

`sink` writes spans directly to the store; `server` serves OTLP, Langfuse's read-back calls and
the page on 127.0.0.1. Importing `sink` loads none of the web libraries.
"""
