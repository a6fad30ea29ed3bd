"""Abstract interpretation of a process's startup: its calls, their certainty and order."""
