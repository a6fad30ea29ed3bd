"""Keys, session cookies and the access checks on requests."""
