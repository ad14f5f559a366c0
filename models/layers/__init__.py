"""Blocks that at least two networks share."""
