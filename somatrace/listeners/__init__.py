"""The stream of `Record`s, and what consumes it."""
