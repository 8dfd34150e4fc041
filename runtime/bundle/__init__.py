"""Bundles: manifest, hashes, golden rows, compatibility."""
