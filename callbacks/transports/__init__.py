"""Buses that carry documents from one process to another."""
