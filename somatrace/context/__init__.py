"""Tags, per-span state, and the scopes that apply them to functions and generators."""
