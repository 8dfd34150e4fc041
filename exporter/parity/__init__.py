"""The proof of parity: every backend at every batch size, each output compared."""
