"""Calibration: from the rings of a powder to where the detector stands, and whether to trust it.

``rings``
    Pieces of rings in the frame.
``indexing``
    Ways the detector may stand, and numbers to the rings.
``refinement``
    The geometry that the pixels tell, its errors, and what is wrong with it.
``joint``
    Several images: moving detectors, and the wavelength.

`calibrate` goes through the first three and judges; `check` compares a geometry with an image.
"""
