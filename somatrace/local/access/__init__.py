"""Keys, sign-in cookies and the checks on every request."""
