"""Scoring on the clusters of other projects; each module needs the extra of its name."""
