"""The SQLite store for spans and the sums over them."""
