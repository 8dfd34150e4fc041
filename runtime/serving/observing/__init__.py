"""What a server tells of itself: log, metrics, and whose request is whose."""
