"""What a model must compute: exact answers, and how far from them a correct engine may be."""
