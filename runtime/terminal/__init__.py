"""What people see on a terminal, and what the commands of all packages share."""
