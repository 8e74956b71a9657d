"""The service from the command line: its exit codes, signals and log.

Most of it is tried around a service that is made up, and starts faster.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from bluesky_azint.callbacks.service.config import read_config
from bluesky_azint.cli import main
from tests.servers import free_ports

PATIENCE = 20.0

# Works until it is told to stop, or does what the name of its recipe says.
MADE_UP = """
import logging, sys, threading, types
from bluesky_azint.callbacks.service.status import ServiceStatus
from bluesky_azint.errors import ConfigError, StoreError

logger = logging.getLogger("bluesky_azint.made_up")

class Service:
    def __init__(self, config):
        self.what = next(iter(config.recipes))
        self.stopped = threading.Event()
        if self.what == "misconfigured":
            raise ConfigError("source: it cannot be.")

    def run(self):
        logger.info("running")
        if self.what == "refused":
            raise StoreError("It is refused.")
        if self.what == "broken":
            raise KeyError("a mistake of ours")
        self.stopped.wait()
        logger.info("stopped in order")
        return 0

    def stop(self):
        self.stopped.set()

    def status(self):
        return ServiceStatus(state="running", since=0.0, source="connected")

module = types.ModuleType("service")
module.Service = Service
sys.modules["bluesky_azint.callbacks.service.service"] = module

from bluesky_azint.cli import main
sys.exit(main())
"""


def write_config(folder: Path, *, port: int = 0, recipe: str = "pattern") -> Path:
    """A configuration of the service that is made up."""
    path = folder / "azint.toml"
    path.write_text(
        f'[service]\ndirectory = "state"\nhttp = "127.0.0.1:{port}"\nlog = "json"\n'
        f'[files]\nroots = ["."]\n[recipes.{recipe}]\n'
    )
    return path


def command(*arguments: str) -> list[str]:
    """How the service that is made up is started."""
    return [sys.executable, "-c", MADE_UP, "serve", *arguments]


@contextmanager
def serving(config: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The process, which is running."""
    with subprocess.Popen(
        command("-c", str(config)),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def log_of(process: subprocess.Popen[str]) -> list[dict[str, str]]:
    """What it still writes into its log."""
    assert process.stderr is not None
    return [json.loads(line) for line in process.stderr]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_as_asked(tmp_path: Path, number: signal.Signals) -> None:
    (port,), notified = free_ports(1), str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(notified)
        systemd.settimeout(PATIENCE)
        with serving(write_config(tmp_path, port=port), NOTIFY_SOCKET=notified) as process:
            assert systemd.recv(1000).startswith(b"READY=1\n")
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=PATIENCE) as answer:
                assert json.load(answer)["state"] == "running"
            process.send_signal(number)
            assert process.wait(PATIENCE) == 0
            messages = [entry["message"] for entry in log_of(process)]
        assert systemd.recv(1000) == b"STOPPING=1"

    assert messages[0] == "running"
    assert messages[-1] == "stopped in order"


SILENT = """
import threading

class Silent:
    state, refused = "connected", 0

    def __init__(self, name):
        assert name == "a silent one"
        self.stopped = threading.Event()

    def run(self, take):
        take("start", {"uid": "0f3a", "time": 1.0})
        take("start", {"no": "uid"})
        self.stopped.wait()

    def stop(self):
        self.stopped.set()
"""


def test_the_service_itself_starts_and_stops(tmp_path: Path) -> None:
    (tmp_path / "silent.py").write_text(SILENT)
    config = tmp_path / "azint.toml"
    config.write_text(
        '[service]\ndirectory = "state"\nhttp = "127.0.0.1:0"\nlog = "json"\nlevel = "debug"\n'
        '[source]\nkind = "python"\nentry = "silent:Silent"\noptions = { name = "a silent one" }\n'
        '[engine]\nname = "scipy"\n'
    )
    notified = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(notified)
        systemd.settimeout(PATIENCE)
        with subprocess.Popen(
            [sys.executable, "-m", "bluesky_azint", "serve", "-c", str(config)],
            stderr=subprocess.PIPE, text=True,
            env={**os.environ, "NOTIFY_SOCKET": notified, "PYTHONPATH": str(tmp_path)},
        ) as process:  # fmt: skip
            try:
                while not (told := systemd.recv(1000)).startswith(b"READY=1\n"):
                    assert process.poll() is None
                process.send_signal(signal.SIGTERM)
                assert process.wait(PATIENCE) == 0
                log = log_of(process)
            finally:
                process.kill()

    assert b"STATUS=running, connected; " in told
    assert (tmp_path / "state").is_dir()
    assert any("SIGTERM" in entry["message"] for entry in log)
    assert not [entry for entry in log if entry["level"] in ("error", "critical")]


@pytest.mark.parametrize(
    ("what", "code", "told"),
    [
        ("misconfigured", 2, "source: it cannot be."),
        ("refused", 1, "It is refused."),
        ("broken", 1, "The service ends with an error."),
    ],
)
def test_it_says_why_it_ends(tmp_path: Path, what: str, code: int, told: str) -> None:
    config = write_config(tmp_path, recipe=what)
    ended = subprocess.run(
        command("-c", str(config)), stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False
    )
    last = json.loads(ended.stderr.splitlines()[-1])

    assert ended.returncode == code
    assert (last["level"], last["message"]) == ("critical", told)
    assert ("KeyError: 'a mistake of ours'" in last.get("exception", "")) is (what == "broken")


def test_a_port_in_use_is_a_wrong_configuration(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        config = write_config(tmp_path, port=server.getsockname()[1])
        ended = subprocess.run(
            command("-c", str(config)),
            stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    assert ended.returncode == 2
    assert "service.http: the port" in ended.stderr


def test_the_example_is_printed_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bluesky_azint.cli.COMMANDS", ("serve",))
    monkeypatch.delenv("AZINT_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--example"]) == 0
    Path("azint.toml").write_text(capsys.readouterr().out)
    config = read_config("azint.toml")

    assert main(["serve", "--check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(None, 2) == [str(config.path), "ok", "nothing is wrong in it"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["service.directory", "ok"],
        ["source", "ok"],
        ["files.patterns", "ok"],
        ["engine", "ok"],
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["azint.toml"]


def test_what_cannot_be_reached_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bluesky_azint.cli.COMMANDS", ("serve",))
    config = write_config(tmp_path)
    config.write_text(config.read_text() + '[sinks.redis]\nurl = "redis://127.0.0.1:9"\n')
    monkeypatch.setenv("AZINT_CONFIG", str(config))

    assert main(["serve", "--check"]) == 1
    assert "sinks.redis" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_a_wrong_configuration_is_told_and_nothing_begins(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    monkeypatch.setattr("bluesky_azint.cli.COMMANDS", ("serve",))
    config = tmp_path / "azint.toml"
    config.write_text('[service]\nhttp = "x"\ndirectry = "state"')

    assert main(["serve", "-c", str(config), *arguments]) == 2
    told = capsys.readouterr().err
    for part in ("azint.toml has 4 faults:", "service.http", 'did you mean "directory"?', "roots"):
        assert part in told
    assert [path.name for path in tmp_path.iterdir()] == ["azint.toml"]
