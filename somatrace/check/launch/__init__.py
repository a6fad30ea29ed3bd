"""Find the Python processes of a tree from launchers, their commands, and naming conventions."""
