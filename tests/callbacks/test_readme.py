"""What the README shows does what it says."""

import re
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import MsgGenerator
from ophyd.sim import SynAxis, SynSignal

import bluesky_azint as ba
from bluesky_azint.callbacks import EmbeddedTiled, LiveReduction
from bluesky_azint.callbacks.service.config import read_config
from bluesky_azint.devices import ClassicSimulatedDetector
from bluesky_azint.devices.powder import debye_scherrer
from bluesky_azint.store import DirectoryStore

README = Path(__file__).parents[2] / "README.md"
GEOMETRY = ba.Geometry(detector=ba.Detector(1e-3, 1e-3, shape=(50, 60)), dist=0.1, wavelength=1e-10)


@pytest.fixture
def snippets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pieces of Python in the README, in a folder with a my.poni."""
    monkeypatch.chdir(tmp_path)
    GEOMETRY.to_poni(tmp_path / "my.poni")
    text = README.read_text(encoding="utf-8").replace('"/data/', f'"{tmp_path}/')
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_pieces_of_the_readme_work_one_after_the_other(
    snippets: list[str], run_engine: RunEngine, tiled: EmbeddedTiled
) -> None:
    frame = np.random.default_rng(0).poisson(100.0, (50, 60)).astype(np.uint16)
    names: dict[str, Any] = {"frame": frame, "RE": run_engine, "tiled_client": tiled.client}
    a_frame, a_beamline, the_patterns, *_ = snippets
    exec(a_frame, names)
    exec(a_beamline, names)
    det = SynSignal(name="det", func=lambda: frame)
    det.trigger()
    result: Any = run_engine(bp.scan([det], SynAxis(name="motor"), 0, 1, 4))
    (names["raw_uid"],) = result.run_start_uids
    names["live"].close()
    exec(the_patterns, names)
    pattern = names["run"].pattern(3)
    np.testing.assert_allclose(pattern.intensity, names["result"].intensity, rtol=1e-6)
    np.testing.assert_allclose(pattern.sigma, names["result"].sigma, rtol=1e-6)


def test_a_detector_is_calibrated_as_the_readme_says(
    snippets: list[str], run_engine: RunEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bluesky_azint.report.report_images", lambda *_: {})  # they take seconds
    truth = ba.Geometry(
        detector=ba.detector("Pilatus100k"),
        dist=0.1,
        poni1=0.018,
        poni2=0.04,
        rot1=0.03,
        rot2=-0.02,
        wavelength=0.4e-10,
    )
    expected = debye_scherrer(truth, ba.calibrant("CeO2"))
    image = np.random.default_rng(0).poisson(expected).astype(np.uint32)
    det = ClassicSimulatedDetector(tmp_path / "frames", truth, name="det", pool=1)
    store = DirectoryStore(tmp_path / "store")
    names: dict[str, Any] = {"ba": ba, "image": image, "RE": run_engine, "det": det, "store": store}
    *_, from_python, in_a_run_engine = snippets
    for snippet in (from_python, in_a_run_engine):
        exec(snippet.replace("Pilatus1M", "Pilatus100k"), names)

    assert names["found"].verdict == "accepted"
    assert names["check"].verdict == "good"
    for geometry in (ba.Geometry.from_poni("new.poni"), store.records("det")[0].geometry):
        assert geometry.dist == pytest.approx(truth.dist, abs=2e-5)
        assert geometry.rot1 == pytest.approx(truth.rot1, abs=5e-4)


def test_the_configuration_of_the_readme_is_right(tmp_path: Path) -> None:
    (recipes,) = re.findall(r"```toml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "azint.toml"
    path.write_text('[service]\ndirectory = "."\n[files]\nroots = ["."]\n' + recipes)
    config = read_config(path)
    assert list(config.recipes) == ["pattern", "cake"]
    companions = config.detector("det").companions
    assert [quantity.key for quantity in companions.monitor] == ["i0", "exposure_time"]
    assert companions.dark is not None
    assert companions.dark.max_age == 3600


def test_a_plan_decides_as_the_readme_says(
    snippets: list[str], run_engine: RunEngine, tiled: EmbeddedTiled
) -> None:
    """The pieces have no frames of their own; they are put together here."""
    (in_a_plan,) = (snippet for snippet in snippets if "wait_for_reduction" in snippet)
    names: dict[str, Any] = {}
    lines = [line for line in in_a_plan.splitlines() if "import" in line]
    exec("\n".join(lines), names)
    patterns = names["ReducedPatterns"]()
    seen: list[float] = []
    det = SynSignal(name="det", func=lambda: np.full((50, 60), 7, dtype=np.uint16))
    det.trigger()

    def plan() -> MsgGenerator[None]:
        uid = yield from bps.open_run()
        yield from bps.trigger_and_read([det])
        pattern = yield from names["wait_for_reduction"](patterns, uid, 1)
        seen.append(float(pattern.intensity.max()))
        yield from bps.close_run()

    with LiveReduction(
        tiled.reduced, recipe=ba.Recipe(npt=50), default=GEOMETRY, directory=Path("reduced"),
        listeners=[names["LivePattern"](), patterns],
    ) as live:  # fmt: skip
        run_engine(plan(), live)
    assert seen[0] >= 7.0
