"""Ways the detector may stand, and which ring is which."""
