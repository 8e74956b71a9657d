"""The beamline as it is delivered: copied, given ports of its own, and run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from socket import socket
from typing import Any

import pytest
import zmq

import bluesky_azint as ba
from bluesky_azint.callbacks.service.config import read_config
from bluesky_azint.profiles import copy_profile
from bluesky_azint.store import CalibrationRecord, open_store

BIN = Path(sys.executable).parent
BLUEAPI = Path(__file__).resolve().parents[2] / ".venv-blueapi" / "bin" / "python"
KEY = "0123456789abcdef"
CALIBRATION = CalibrationRecord(
    detector="det",
    geometry=ba.Geometry(
        detector=ba.detector("Pilatus1M"),
        dist=0.2,
        poni1=0.088,
        poni2=0.08,
        rot1=0.05,
        rot2=-0.03,
        wavelength=0.4e-10,
    ),
    valid_from=datetime(2026, 1, 1, tzinfo=UTC),
)
PLANS = {
    "calibrate_detector",
    "calibrate_energy",
    "calibrate_goniometer",
    "check_calibration",
    "count",
    "fly_frames",
}


class Beamline:
    """A copy with names changed, as a beamline changes them: everything listens elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = copy_profile("beamline", folder)
        self.port = {port: free_port() for port in ("5577", "5578", "8000", "8001", "8090")}
        for path in self.folder.rglob("*"):
            if path.suffix in (".py", ".toml", ".yml", ".yaml"):
                text = path.read_text()
                for delivered, free in self.port.items():
                    text = text.replace(f":{delivered}", f":{free}")
                    text = text.replace(f"port: {delivered}", f"port: {free}")
                path.write_text(text)
        for name in ("tiled", "calibrations"):
            (self.folder / "data" / name).mkdir(parents=True)
        self.environment = {
            **os.environ,
            "IPYTHONDIR": str(self.folder / "ipython"),
            "PYTHONPATH": "",
            "TILED_API_KEY": KEY,
            "TILED_SINGLE_USER_API_KEY": KEY,
        }

    @contextmanager
    def running(self, *command: str | Path) -> Iterator[None]:
        """Have a program run beside, with its output in a file."""
        with (self.folder / f"{Path(command[0]).name}.log").open("w") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
            try:
                yield
            finally:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def run(self, *command: str | Path, **environment: str) -> str:
        """What a program says that must end well."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def calibration_uid(self) -> str:
        """The calibration that is in use."""
        store = open_store(self.folder / "data" / "calibrations")
        latest = store.latest("det", datetime.now(UTC))
        assert latest is not None
        return latest.uid

    def answers(self, port: str, path: str) -> bool:
        """Whether the server is up that listens there as delivered."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port[port]}{path}", timeout=5):
                return True
        except OSError:
            return False


@pytest.fixture(scope="module")
def beamline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beamline]:
    """A beamline with all that always runs."""
    here = Beamline(tmp_path_factory.mktemp("beamline") / "xrd")
    open_store(here.folder / "data" / "calibrations").save(CALIBRATION)
    ways = [f"--{way}-address=tcp://127.0.0.1:{here.port[port]}" for way, port in WAYS.items()]
    with ExitStack() as stack:
        stack.enter_context(here.running(BIN / "tiled", "serve", "config", "tiled/server.yml"))
        stack.enter_context(here.running(BIN / "bluesky-0MQ-proxy", *ways))
        stack.enter_context(here.running(BIN / "bluesky-azint", "serve", "-c", "azint.toml"))
        wait_for(lambda: here.answers("8000", "/healthz"))
        wait_for(lambda: here.answers("8090", "/health"))
        yield here


WAYS = {"in": "5577", "out": "5578"}


def test_every_run_of_a_session_is_reduced(beamline: Beamline) -> None:
    code = (
        "RE(scan([det], motor, 0, 1, 3));"
        "assert publish.lost == 0;"
        "assert write_raw.flush(60);"
        "raw = container('raw').values().last();"
        "names = [name for name, _ in raw.documents()];"
        "assert (names[0], names[-1]) == ('start', 'stop'), names;"
        "assert raw.start['beamline_id'] == 'xrd';"
        "assert raw['primary']['det'].shape[-2:] == (1043, 981);"
        "run = last_reduced();"
        "assert run.start['raw_uid'] == raw.start['uid'];"
        f"assert run.start['calibration_uid'] == '{beamline.calibration_uid()}';"
        "assert run.patterns['intensity'].shape == (3, 1000);"
    )
    beamline.run(sys.executable, "-m", "IPython", "--profile-dir=.", "-c", code)


def test_a_queue_lists_and_runs_our_plans(beamline: Beamline) -> None:
    """Its worker is the session; the plan fails if what it is told is not understood."""
    with queue(beamline) as call:
        allowed = call("plans_allowed", user_group="primary")["plans_allowed"]
        assert set(allowed) >= {"calibrate", "check"} | PLANS
        parameters = {one["name"]: one for one in allowed["calibrate_detector"]["parameters"]}
        assert parameters["detector"]["description"] == "The detector."
        assert parameters["calibrant"]["default"] == "'CeO2'"
        assert "calibrate" not in call("plans_allowed", user_group="users")["plans_allowed"]
        assert set(call("devices_allowed", user_group="users")["devices_allowed"]) == {
            "det",
            "motor",
        }
        calibrated = {"name": "calibrate", "kwargs": {"exposure_time": 2.0}}
        for item in (calibrated, {"name": "count", "args": [["det"]], "kwargs": {"num": 2}}):
            call(
                "queue_item_add", item={**item, "item_type": "plan"}, user_group="primary", user=""
            )
        call("queue_start")
        wait_for(lambda: call("status")["items_in_queue"] == 0 and idle(call))
        first, last = call("history_get")["items"]
        call("environment_close")
        wait_for(lambda: not call("status")["worker_environment_exists"])
        # The worker itself lives until all is in Tiled.
        with tiled_client(beamline) as client:
            raw = client["raw"]
            calibration, scan = (raw[one["result"]["run_uids"][0]] for one in (first, last))
            wait_for(lambda: "stop" in scan.refresh().metadata)
            assert scan.metadata["stop"]["num_events"] == {"primary": 2}
            results = calibration["calibration"].read()
            assert results["calibration-verdict"].item() == "accepted"
            geometry = scan["primary"].metadata["configuration"]["det"]["data"]
        assert geometry["geometry-calibration_uid"] == results["calibration-record_uid"].item()
        assert geometry["geometry-dist"] == pytest.approx(0.2, abs=2e-5)
    assert [first["result"]["exit_status"], last["result"]["exit_status"]] == ["completed"] * 2


@contextmanager
def tiled_client(beamline: Beamline) -> Iterator[Any]:
    """A client of the beamline's server."""
    from tiled.client import from_uri

    client = from_uri(f"http://127.0.0.1:{beamline.port['8000']}", api_key=KEY)
    try:
        yield client
    finally:
        client.context.close()


def idle(call: Callable[..., dict[str, Any]]) -> bool:
    """Whether the queue stands still."""
    return bool(call("status")["manager_state"] == "idle")


@contextmanager
def queue(beamline: Beamline) -> Iterator[Callable[..., dict[str, Any]]]:
    """A queue server with its environment open: what asks it for something."""
    control, info, redis = (free_port() for _ in range(3))
    control_address = f"tcp://127.0.0.1:{control}"

    def call(method: str, **params: Any) -> dict[str, Any]:
        manager.send_json({"method": method, "params": params})
        assert manager.poll(60_000), f"{method} is not answered"
        answer = manager.recv_json()
        assert isinstance(answer, dict)
        assert answer.get("success", True), answer
        return answer

    with (
        zmq.Context() as context,
        context.socket(zmq.REQ) as manager,
        beamline.running("redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", ""),
        beamline.running(
            BIN / "start-re-manager",
            *("--startup-dir", "startup", "--existing-plans-devices", "queueserver"),
            *("--user-group-permissions", "queueserver/user_group_permissions.yaml"),
            *("--zmq-control-addr", control_address, "--redis-addr", f"localhost:{redis}"),
            *("--zmq-info-addr", f"tcp://127.0.0.1:{info}"),
        ),
    ):
        manager.linger = 0
        manager.connect(control_address)
        wait_for(lambda: idle(call))
        call("environment_open")
        wait_for(lambda: idle(call))
        assert call("status")["worker_environment_exists"]
        yield call


@pytest.mark.skipif(
    not BLUEAPI.exists() and os.environ.get("CI") != "true", reason="make pytest installs it"
)
def test_blueapi_lists_and_runs_our_plans(beamline: Beamline) -> None:
    code = """
import json, logging, pathlib, time
from blueapi.config import ApplicationConfig, ConfigLoader
from blueapi.core.context import BlueskyContext
from blueapi.service.model import PlanModel
from blueapi.worker.task import Task
from blueapi.worker.task_worker import TaskWorker

loader = ConfigLoader(ApplicationConfig)
loader.use_values_from_yaml(pathlib.Path("blueapi/config.yaml"))
context = BlueskyContext(loader.load())
documents = []
context.run_engine.subscribe(lambda name, doc: documents.append((name, doc)))
worker = TaskWorker(context)
worker.start()
task = worker.submit_task(Task(name="count", params={"detectors": ["det"], "num": 2}))
worker.begin_task(task)
while not worker.get_task_by_id(task).is_complete:
    time.sleep(0.1)
worker.stop()
from beamline_plans import _publish
print(json.dumps({
    "plans": {name: PlanModel.from_plan(plan).parameter_schema for name, plan in context.plans.items()},
    "outcome": worker.get_task_by_id(task).outcome.outcome,
    "configuration": [doc["configuration"]["det"]["data"] for name, doc in documents if name == "descriptor"],
    "names": [name for name, _ in documents],
    "lost": _publish.lost,
}))
"""
    patterns = beamline.folder / "data" / "patterns"
    before = set(patterns.glob("*.nxs"))
    said = beamline.run(BLUEAPI, "-c", code, PYTHONPATH="blueapi")
    found = json.loads(said.splitlines()[-1])
    assert set(found["plans"]) == PLANS
    detector = found["plans"]["calibrate_detector"]["properties"]["detector"]
    assert detector["type"] == "bluesky.protocols.Readable"
    assert found["outcome"] == "success"
    assert (found["names"].count("event"), found["names"][-1]) == (2, "stop")
    assert found["lost"] == 0
    wait_for(lambda: set(patterns.glob("*.nxs")) > before)  # the service has heard of it
    (configuration,) = found["configuration"]
    assert configuration["geometry-calibration_uid"] == beamline.calibration_uid()


def test_the_configuration_of_the_service_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILED_API_KEY", KEY)
    here = Beamline(tmp_path / "xrd")
    config = read_config(here.folder / "azint.toml")
    assert config.calibrations.store == str(here.folder / "data" / "calibrations")
    assert config.recipes["pattern"] == ba.Recipe(npt=1000, unit="q_A^-1", error_model="poisson")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    units = tmp_path / "units"
    units.mkdir()
    names: Mapping[str, str] = {"/opt/bluesky/bin": str(BIN), "User=bluesky": "User=root"}
    for unit in (copy_profile("beamline", tmp_path / "xrd") / "systemd").iterdir():
        text = unit.read_text()
        for delivered, ours in names.items():
            assert delivered in text, unit
            text = text.replace(delivered, ours)
        (units / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *units.iterdir()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def free_port() -> int:
    """A port that nobody uses now."""
    with socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def wait_for(condition: Callable[[], bool], timeout: float = 120.0) -> None:
    """Until it is true."""
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)
