"""What the commands do with their parsed options."""
