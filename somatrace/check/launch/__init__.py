"""Discover a source tree's Python processes from launchers, their commands, and naming conventions."""
