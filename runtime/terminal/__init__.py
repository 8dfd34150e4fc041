"""Terminal output, and what the commands of all packages share."""
