"""Reducing runs once more, on many cores or machines."""
