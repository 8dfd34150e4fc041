"""Bundles: manifest, digests, golden rows, compatibility."""
