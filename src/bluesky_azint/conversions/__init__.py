"""Conversions between `Geometry` and what other programs call a calibration.

One module per program: a frozen dataclass of its numbers, in its units, with ``to_...`` and
``from_...``. Nothing is lost in silence: what a format cannot hold is refused, or, where only the
origin of the azimuth is concerned, said in its module. The files are read and written by the
modules of `bluesky_azint.io` with the same names.
"""
