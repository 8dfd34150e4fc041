"""Files for the platforms that serve a bundle: made from the bundle alone, without torch."""
