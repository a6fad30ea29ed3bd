"""`make demo`: the sample services at work for three tenants, and what tracing says about it."""
