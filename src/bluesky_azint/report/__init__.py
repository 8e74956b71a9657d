"""The report of a calibration: one page that tells whether to trust it, and shows why.

>>> from bluesky_azint.report import write_report
>>> page = write_report(calibration, image, Path("calibration.html"))  # doctest: +SKIP

One module per picture, all drawn from a `Calibration` and the image that it was made from.
"""

from bluesky_azint.report.page import report_images, write_report

__all__ = ["report_images", "write_report"]
