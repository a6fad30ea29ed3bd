"""What a program calls: `bind`, `span`, and the annotations `event`, `content`, `usage` and `fail`."""
