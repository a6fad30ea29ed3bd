"""The one road of a span: tags at its start, the guard at its end, delivery after that."""
