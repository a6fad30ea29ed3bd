"""The API for programs: `bind`, `span`, and the annotations `event`, `content`, `usage` and `fail`."""
