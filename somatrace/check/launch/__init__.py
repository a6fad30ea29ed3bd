"""What starts a Python process: launchers, their commands, and convention."""
