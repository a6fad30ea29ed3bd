"""Finding secrets and personal data in text."""
