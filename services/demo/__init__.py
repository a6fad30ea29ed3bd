"""`make demo`: run the sample services for three tenants and report what was traced."""
