"""Pieces of rings, found in a frame."""
