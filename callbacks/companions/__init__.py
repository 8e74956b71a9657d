"""What belongs to a frame: its dark, its flat, the intensity of the beam, and where things stood."""
