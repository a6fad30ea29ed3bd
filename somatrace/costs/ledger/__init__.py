"""What model calls have cost, kept on this machine: exact, before sampling, over restarts and `kill -9`."""
