"""Several images of one calibrant: detectors that move, and the wavelength."""
