"""Detection of secrets and personal data in text."""
