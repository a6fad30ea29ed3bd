"""Content policies: whose content may leave the process, in what form, until when."""
