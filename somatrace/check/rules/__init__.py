"""The rules, one file each, and the findings that they make."""
