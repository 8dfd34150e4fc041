"""Outputs that appear whole or not at all; what a killed run left is swept."""
