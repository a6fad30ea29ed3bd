"""What a finding is, which rules exist, and how a process is judged."""
