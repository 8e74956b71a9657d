"""A real frame, against the pattern that was published with it."""

from pathlib import Path

import fabio
import numpy as np

import bluesky_azint as ba


def test_ceria_on_a_pilatus_is_what_was_published(shared_data: Path, engine: str) -> None:
    folder = shared_data / "dioptas_ceo2_pilatus1m"
    frame = fabio.open(folder / "CeO2_Pilatus1M.tif").data[::-1]
    published = np.loadtxt(folder / "CeO2_Pilatus1M.xy")
    # The file names no detector, only its pixels: there is no mask, and the frame gives the shape.
    geometry = ba.Geometry.from_poni(folder / "CeO2_Pilatus1M.poni")
    result = ba.Integrator(
        geometry, 1512, unit="2th_deg", polarization_factor=0.99, engine=engine
    ).integrate(frame)

    np.testing.assert_allclose(result.radial, published[:, 0], rtol=2e-7)
    difference = np.abs(result.intensity / published[:, 1] - 1)
    assert np.median(difference) <= 1e-6
    assert np.quantile(difference, 0.95) <= 2e-5
