"""The queries behind the pages."""
