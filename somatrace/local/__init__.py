"""The embedded default: an ingester, a store and a page on this machine.

`sink` writes spans straight into the store; `server` answers OTLP, Langfuse's read-back calls and
the page on 127.0.0.1. Importing `sink` loads none of the web libraries.
"""
