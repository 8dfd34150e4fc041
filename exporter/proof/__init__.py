"""The proof of parity: every contender at every batch size, each answer judged."""
