"""What the server answers, described for machines."""
