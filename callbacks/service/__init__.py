"""The service: reduction in a process of its own, which is left running."""
