"""Content policies: which tenants' content may leave the process, in which form, and until when."""
