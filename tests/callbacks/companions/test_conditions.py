"""The geometry of a frame, by energy and motors; flats; and what patterns become of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bluesky_azint.callbacks.companions.companions import Companions
from bluesky_azint.callbacks.companions.conditions import Conditions, Stand, axes_problem
from bluesky_azint.callbacks.companions.config import CompanionsConfig
from bluesky_azint.detectors import Detector
from bluesky_azint.errors import ConfigError, FormatError
from bluesky_azint.geometry import Geometry
from bluesky_azint.goniometer import Goniometer
from bluesky_azint.io.goniometer import write_goniometer
from bluesky_azint.reduction.integrator import Integrator
from bluesky_azint.reduction.recipe import Recipe
from tests.callbacks.companions.raw_runs import NUMBER, SHAPE, RawRun, feed, only

CALIBRATED = Geometry(
    detector=Detector(1e-3, 1e-3, SHAPE), dist=0.1, poni1=0.002, poni2=0.003, wavelength=1e-10
)


def moving(values: Mapping[str, Any], raw_run: RawRun, *events: Mapping[str, float]) -> Companions:
    """Companions of a configuration, and a run with events of these readings."""
    given = Companions(CompanionsConfig.from_dict(values))
    keys: dict[str, Any] = dict.fromkeys(events[0], NUMBER)
    feed(given, ("start", raw_run.start), ("descriptor", raw_run.descriptor(**keys)))
    feed(
        given,
        *(
            ("event", raw_run.event(n, **dict[str, Any](one)))
            for n, one in enumerate(events, start=1)
        ),
    )
    return given


def test_the_energy_moves_q_by_its_factor(raw_run: RawRun) -> None:
    given = moving({"energy": {"key": "mono", "unit": "eV"}}, raw_run, {"mono": 12398.419843320026})
    geometry = only(given.conditions(raw_run.batch(1))).geometry(CALIBRATED)
    assert geometry.wavelength == pytest.approx(1e-10, rel=1e-12)
    given = moving(
        {"energy": {"key": "mono", "unit": "keV"}}, raw_run, {"mono": 2 * 12.398419843320026}
    )
    geometry = only(given.conditions(raw_run.batch(1))).geometry(CALIBRATED)
    np.testing.assert_allclose(geometry.q(), 2 * CALIBRATED.q(), rtol=1e-12)


@pytest.mark.parametrize("read", [12398.4, 0.05, 0.0, -8.0])
def test_an_energy_in_another_unit_is_refused(raw_run: RawRun, read: float) -> None:
    given = moving({"energy": {"key": "mono", "unit": "keV"}}, raw_run, {"mono": read})
    [(_, found)] = given.conditions(raw_run.batch(1))
    assert "must be between 0.1 and 1000 keV" in found.problem


def test_motors_add_to_the_calibrated_geometry(raw_run: RawRun) -> None:
    values = {
        "geometry": {
            "dist": {"key": "z", "scale": 1e-3, "zero": 350},
            "rot2": {"key": "tth", "scale": -np.pi / 180},
        }
    }
    given = moving(values, raw_run, {"z": 360.0, "tth": 90.0}, {"z": 350.0, "tth": 0.0})
    first, second = given.conditions(raw_run.batch(1, 2))
    moved = first[1].geometry(CALIBRATED)
    assert moved.dist == pytest.approx(0.110)
    assert moved.rot2 == pytest.approx(-np.pi / 2)
    assert (moved.poni1, moved.poni2, moved.wavelength) == (0.002, 0.003, 1e-10)
    assert second[1].geometry(CALIBRATED) == CALIBRATED
    assert first[1].stand.moves
    assert first[1].key != second[1].key
    assert first[1].provenance["geometry"] == pytest.approx({"dist": 0.01, "rot2": -np.pi / 2})


def test_frames_that_stand_alike_are_reduced_together(raw_run: RawRun) -> None:
    trembling = (1.0, 1.0001, 0.9999, 2.0, 2.0002)
    events = [{"z": z} for z in trembling]
    config = {"geometry": {"dist": {"key": "z", "scale": 1e-3, "step": 0.01}}}
    parts = moving(config, raw_run, *events).conditions(raw_run.batch(1, 2, 3, 4, 5))
    assert [part.seq_nums.tolist() for part, _ in parts] == [[1, 2, 3], [4, 5]]
    assert [c.geometry(CALIBRATED).dist for _, c in parts] == pytest.approx([0.101, 0.102])
    config = {"geometry": {"dist": {"key": "z", "scale": 1e-3}}}
    parts = moving(config, raw_run, *events).conditions(raw_run.batch(1, 2, 3, 4, 5))
    assert len(parts) == 5


def test_a_part_has_its_own_frames_and_numbers(raw_run: RawRun) -> None:
    config = {"monitor": "i0", "geometry": {"dist": "z"}}
    given = moving(config, raw_run, *({"z": float(n > 1), "i0": 10.0 * n} for n in (1, 2, 3)))
    frames = np.arange(3, dtype=np.uint16)[:, None, None] * np.ones(SHAPE, dtype=np.uint16)
    first, second = given.conditions(raw_run.batch(1, 2, 3, frames=frames))
    assert np.asarray(first[0].frames)[:, 0, 0].tolist() == [0]
    assert np.asarray(second[0].frames)[:, 0, 0].tolist() == [1, 2]
    assert second[0].indices.tolist() == [1, 2]
    assert second[0].places.tolist() == [2, 3]
    assert second[0].timestamps.tolist() == [1002.0, 1003.0]
    assert second[1].normalization.tolist() == [20.0, 30.0]


def test_a_missing_motor_never_means_the_calibrated_place(raw_run: RawRun) -> None:
    given = moving({"geometry": {"dist": "z"}}, raw_run, {"y": 1.0})
    [(_, found)] = given.conditions(raw_run.batch(1))
    assert "can be reduced without the dist 'z'" in found.problem


def test_a_goniometer_gives_the_geometry(raw_run: RawRun, tmp_path: Path) -> None:
    arm = Goniometer(
        detector=CALIBRATED.detector,
        parameters={"distance": 0.25},
        positions=("tth",),
        expressions={"dist": "distance", "rot2": "-tth * pi / 180"},
    )
    file = tmp_path / "arm.json"
    write_goniometer(arm, file)
    config = {"goniometer": {"file": str(file), "positions": {"tth": "delta"}}}
    geometry = only(moving(config, raw_run, {"delta": 30.0}).conditions(raw_run.batch(1))).geometry(
        CALIBRATED
    )
    assert geometry.dist == 0.25
    assert geometry.rot2 == pytest.approx(-np.pi / 6)
    assert geometry.wavelength == 1e-10
    wrong = {"goniometer": {"file": str(file), "positions": {"nu": "delta"}}}
    with pytest.raises(ConfigError, match="has the positions tth; the configuration says what nu"):
        Companions(CompanionsConfig.from_dict(wrong))


def test_a_flat_is_read_once_and_known_by_its_values(raw_run: RawRun, tmp_path: Path) -> None:
    flat = np.linspace(0.5, 1.5, 24).reshape(SHAPE)
    np.save(tmp_path / "flat.npy", flat)
    from_file = Companions(CompanionsConfig.from_dict({"flat": str(tmp_path / "flat.npy")}))
    from_array = Companions(CompanionsConfig(flat={"det": flat}))
    found = []
    for given in (from_file, from_array):
        feed(given, ("start", raw_run.start), ("descriptor", raw_run.descriptor()))
        found.append(only(given.conditions(raw_run.batch(1))))
    assert found[0].key == found[1].key
    np.testing.assert_array_equal(found[0].maps["flat"], flat)
    assert found[0].provenance["flat"]["source"] == str(tmp_path / "flat.npy")
    with pytest.raises(FormatError):
        Companions(CompanionsConfig.from_dict({"flat": str(tmp_path / "none.npy")}))


def test_the_pattern_is_that_of_the_light_alone(raw_run: RawRun) -> None:
    """Counts of 3 flat t I0 over a dark of 50 t become 3 t in every bin, whatever I0 is."""
    flat = np.linspace(0.5, 1.5, 24).reshape(SHAPE)
    config = CompanionsConfig(
        **{
            **vars(
                CompanionsConfig.from_dict(
                    {"monitor": "i0", "exposure": "seconds", "dark": {"scale": True}}
                )
            ),
            "flat": {"": flat},
        }
    )
    given = Companions(config)
    feed(given, ("start", raw_run.start))
    feed(given, ("descriptor", raw_run.descriptor("dark", configuration={"seconds": 2.0})))
    feed(given, ("descriptor", raw_run.descriptor(i0=NUMBER, configuration={"seconds": 8.0})))
    given.take_darks(raw_run.batch(1, 2, frames=np.full((2, *SHAPE), 100.0), name="dark"))
    feed(given, *(("event", raw_run.event(n, i0=i0)) for n, i0 in ((1, 1e3), (2, 5e3))))
    feed(given, ("stream_datum", raw_run.datum(1, 2)))
    light = 3 * 8 * flat * np.array([1e3, 5e3])[:, None, None]
    found = only(given.conditions(raw_run.batch(1, 2, frames=light + 400)))
    integrator = Integrator.from_recipe(
        found.geometry(CALIBRATED),
        Recipe(npt=3, splitting="no", correct_solid_angle=False),
        engine="scipy",
        **found.maps,
    )
    result = integrator.integrate(light + 400, found.normalization)
    np.testing.assert_allclose(result.intensity, np.full((2, 3), 24.0), rtol=1e-6)


def test_axes_that_would_move_with_the_geometry_are_refused() -> None:
    moves = Stand(added=(("dist", 0.1),), moves=True)
    ranged = Recipe(radial_range=(1.0, 2.0))
    assert "Set radial_range in the recipe" in axes_problem(moves, Recipe())
    assert axes_problem(moves, ranged) == ""
    assert "Set radial_range" in axes_problem(Stand(added=(("dist", 0.1),)), Recipe())
    assert "Set radial_range" in axes_problem(Stand(wavelength=1e-10), Recipe())
    assert axes_problem(Stand(added=(("dist", 0.0),)), Recipe()) == ""
    cake = Recipe(npt_azim=8)
    assert "Set radial_range and azimuth_range" in axes_problem(moves, cake)
    assert "Set azimuth_range" in axes_problem(moves, Recipe(radial_range=(1, 2), npt_azim=8))


def test_conditions_without_anything_change_nothing() -> None:
    assert not CompanionsConfig.from_dict({"monitor": "i0"}).changes_geometry
    assert CompanionsConfig.from_dict({"geometry": {"dist": "z"}}).changes_geometry
    nothing = Conditions(normalization=np.ones(1))
    assert nothing.geometry(CALIBRATED) is CALIBRATED
    assert nothing.maps == {"dark": None, "dark_variance": None, "flat": None}


WRONG = [
    ({"monitr": "i0"}, "no key companions.monitr. Is 'monitor' meant?"),
    ({"monitor": 3}, "companions.monitor"),
    ({"monitor": ""}, "companions.monitor does not name what to read"),
    ({"monitor": {"key": "i0", "scale": 0}}, "companions.monitor: scale must not be zero"),
    ({"monitor": ["i0", {"key": "t", "zero": "x"}]}, "companions.monitor.zero is 'x'"),
    ({"energy": "mono"}, "companions.energy is 'mono'; it must be a table"),
    ({"energy": {"key": "mono"}}, "companions.energy.unit is None"),
    ({"energy": {"key": "mono", "unit": "J"}}, "companions.energy.unit is 'J'"),
    ({"dark": {"max_age": -1}}, "companions.dark.max_age is -1; it must not be negative"),
    ({"dark": {"maxage": 1}}, "Is 'max_age' meant?"),
    ({"dark": {"scale": 1}}, "companions.dark.scale is 1; it must be a bool"),
    ({"flat": 3}, "companions.flat is 3"),
    ({"geometry": {"distance": "z"}}, "no key companions.geometry.distance. Is 'dist' meant?"),
    ({"geometry": {"dist": {"scale": 1.0}}}, "companions.geometry.dist does not name"),
    ({"goniometer": {"file": "x"}}, "companions.goniometer needs a file and the positions"),
    (
        {"geometry": {"dist": "z"}, "goniometer": {"file": "x", "positions": {}}},
        "Both geometry and goniometer",
    ),
]


@pytest.mark.parametrize(("values", "told"), WRONG, ids=[told[:40] for _, told in WRONG])
def test_a_configuration_that_is_wrong_says_where(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        CompanionsConfig.from_dict(values)
    assert told in str(error.value)
