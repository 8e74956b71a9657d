"""The configuration of the service: what is read, and what is said of all that is wrong."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bluesky_azint as ba
from bluesky_azint.callbacks.companions.config import Quantity
from bluesky_azint.callbacks.service.check import Finding, look_around
from bluesky_azint.callbacks.service.config import ServiceConfig, example_config, read_config
from bluesky_azint.callbacks.service.ends import FromPython, FromRedis, FromZmq, ToPvs, ToZmq
from bluesky_azint.callbacks.service.sections import Address
from bluesky_azint.callbacks.service.tables import Fault, Table
from bluesky_azint.errors import ConfigError

LEAST = """
[service]
directory = "state"
[files]
roots = ["."]
"""


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)


def read(folder: Path, text: str) -> ServiceConfig:
    """The configuration that a text is."""
    path = folder / "azint.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path)


def faults(folder: Path, text: str) -> dict[str, str]:
    """What is said to be wrong with a text, by key."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    head, *lines = str(caught.value).split("\n  ")
    count = "a fault" if len(lines) == 1 else f"{len(lines)} faults"
    assert head == f"{folder / 'azint.toml'} has {count}:"
    found = dict(line.split(": ", 1) for line in lines)
    assert len(found) == len(lines)
    return found


def write_poni(path: Path) -> None:
    """A geometry in a file."""
    detector = ba.Detector(pixel1=1e-4, pixel2=1e-4, shape=(30, 40))
    ba.Geometry(
        dist=0.1, poni1=0.0, poni2=0.0, rot1=0.0, rot2=0.0, rot3=0.0, wavelength=1e-10,
        detector=detector,
    ).to_poni(path)  # fmt: skip


def test_what_is_not_set_has_a_default(tmp_path: Path) -> None:
    config = read(tmp_path, LEAST)

    assert config.service.directory == tmp_path / "state"
    assert config.service.http == Address("127.0.0.1", 8090)
    assert (config.service.quiet_seconds, config.service.patience_seconds) == (30.0, 600.0)
    assert config.service.max_memory_mb == 256
    assert (config.service.log, config.service.level) == ("text", "info")
    assert config.source == FromZmq(address="localhost:5578")
    assert config.tiled is None
    assert config.files.roots == (tmp_path,)
    assert config.files.patterns == tmp_path / "state" / "patterns"
    assert config.recipes == {"pattern": ba.Recipe()}
    assert config.detector("det_image").recipes == ("pattern",)
    assert not (tmp_path / "state").exists()  # reading makes nothing


def test_everything_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "open sesame")
    write_poni(tmp_path / "my.poni")
    for name in ("store", "raw"):
        (tmp_path / name).mkdir()
    (tmp_path / "flat.npy").touch()
    config = read(
        tmp_path,
        """
        [service]
        directory = "state"
        http = ""
        log = "json"
        level = "debug"
        quiet_seconds = 5
        patience_seconds = 60.5
        max_memory_mb = 1000
        [source]
        kind = "redis"
        url = "redis://host:6379/1"
        stream = "documents"
        [tiled]
        uri = "http://host:8000"
        api_key_env = "THE_KEY"
        raw = ""
        reduced = "xrd/reduced"
        flush_seconds = 2
        [calibrations]
        store = "store"
        default = "my.poni"
        [files]
        roots = ["raw"]
        map = { "/gpfs" = "raw/here" }
        patterns = "/nowhere"
        [engine]
        name = "scipy"
        [recipes.pattern]
        npt = 500
        radial_range = [0.1, 8]
        [recipes.cake]
        npt_azim = 36
        [detectors.det_image]
        recipes = ["cake"]
        monitor = { key = "i0", zero = 3 }
        flat = "flat.npy"
        [detectors."other detector"]
        recipes = []
        [sinks]
        zmq = { address = "[::1]:5577", prefix = "reduced" }
        pvs = { prefix = "BL:" }
        """,
    )

    assert config.service.http is None
    assert (config.service.log, config.service.level) == ("json", "debug")
    assert (config.service.quiet_seconds, config.service.patience_seconds) == (5.0, 60.5)
    assert config.source == FromRedis(url="redis://host:6379/1", stream="documents")
    assert config.tiled is not None
    assert (config.tiled.api_key, config.tiled.raw) == ("open sesame", "")
    assert config.tiled.reduced == "xrd/reduced"
    assert config.calibrations.store == str(tmp_path / "store")
    assert config.calibrations.default == tmp_path / "my.poni"
    assert config.files.map == {"/gpfs": str(tmp_path / "raw" / "here")}
    assert config.files.patterns == Path("/nowhere")
    assert config.engine.name == "scipy"
    assert list(config.recipes) == ["pattern", "cake"]
    assert config.recipes["pattern"] == ba.Recipe(npt=500, radial_range=(0.1, 8.0))
    assert config.detector("det_image").recipes == ("cake",)
    companions = config.detector("det_image").companions
    assert companions.monitor == (Quantity(key="i0", zero=3.0),)
    assert companions.flat == {"": tmp_path / "flat.npy"}
    assert config.detector("other detector").recipes == ()
    assert config.detector("third").recipes == ("pattern", "cake")
    assert config.sinks.zmq == ToZmq(address="[::1]:5577", prefix="reduced")
    assert config.sinks.pvs == ToPvs(prefix="BL:")
    assert config.sinks.redis is None
    assert "sesame" not in repr(config)


def test_a_source_of_ones_own_is_trusted_with_all_files(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        '[service]\ndirectory = "."\n'
        '[source]\nkind = "python"\nentry = "a.b:make"\noptions = { n = 3 }',
    )

    assert config.source == FromPython(entry="a.b:make", options={"n": 3})
    assert config.files.roots is None


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = faults(
        tmp_path,
        """
        servce = 3
        [service]
        directory = "file/state"
        http = "8090"
        log = "jsn"
        level = 3
        quiet_secnds = 30
        patience_seconds = -1
        quiet_seconds = inf
        max_memory_mb = true
        [source]
        curve_secret = "nothing"
        prefix = "a b"
        [tiled]
        uri = "http://host/?api_key=4"
        profile = "xrd"
        api_key_env = "NO_SUCH_KEY"
        reduced = ""
        [calibrations]
        default = "file"
        [files]
        roots = ["nothing", 3]
        patterns = "~nobody_of_that_name/patterns"
        map = { "/gpfs" = "" }
        [engine]
        name = "cuda"
        [detectors.det]
        recipes = ["patern"]
        [sinks]
        databroker = {}
        """,
    )

    assert 'did you mean "service"?' in found.pop("servce")
    assert f"{tmp_path / 'file'} is no folder" in found.pop("service.directory")
    assert 'write "127.0.0.1:8090", or "" for none' in found.pop("service.http")
    assert '"text", "json"; did you mean "json"?' in found.pop("service.log")
    assert found.pop("service.level") == "3 is not what is needed; write a string."
    assert 'did you mean "quiet_seconds"?' in found.pop("service.quiet_secnds")
    assert found.pop("service.quiet_seconds") == "inf cannot be; write a number larger than 0."
    assert found.pop("service.patience_seconds") == "-1 cannot be; write a number larger than 0."
    assert "write a whole number of at least 1" in found.pop("service.max_memory_mb")
    assert "nothing is no file" in found.pop("source.curve_secret")
    assert found.pop("source.curve_server") == "is missing; give both keys, or neither."
    assert "space" in found.pop("source.prefix")
    assert "needs either `uri`" in found.pop("tiled")
    assert "`api_key_env`" in found.pop("tiled.uri")
    assert "is empty" in found.pop("tiled.reduced")
    assert "no variable NO_SUCH_KEY" in found.pop("tiled.api_key_env")
    assert "is no geometry" in found.pop("calibrations.default")
    assert "write a list of strings" in found.pop("files.roots")
    assert "is empty" in found.pop('files.map."/gpfs"')
    assert '"auto", "opencl", "scipy".' in found.pop("engine.name")
    assert 'there is no recipe "patern"; did you mean "pattern"?' in found.pop(
        "detectors.det.recipes"
    )
    assert "needs either `name`" in found.pop("sinks.databroker")
    assert not found


def test_each_entry_of_a_recipe_that_is_wrong_is_told(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        LEAST + '[recipes.a]\nnpt = 0\nunit = 3\nradial_range = [3, 2]\nsplitting = "bbox"\n'
        "delta_dummy = 1\npolarisation_factor = 0.9\n[recipes]\nb = 4",
    )

    assert set(found) == {
        *(f"recipes.a.{key}" for key in ("npt", "unit", "radial_range", "delta_dummy")),
        "recipes.a.polarisation_factor",
        "recipes.b",
    }
    assert 'did you mean "polarization_factor"?' in found["recipes.a.polarisation_factor"]
    assert "at least 1" in found["recipes.a.npt"]


def test_a_recipe_has_a_name_that_streams_can_have(tmp_path: Path) -> None:
    found = faults(tmp_path, LEAST + '[recipes."a b"]\nnpt = 100')

    assert "letters, digits and underscores" in found['recipes."a b"']


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ("monitr = 'i0'", "'monitor'"),
        ("energy = 'mono'", "unit"),
        ("flat = 'nothing.npy'", "nothing.npy is no file"),
        ("goniometer = {file = 'arm.json', positions = {pos = 'tth'}}", "arm.json is no file"),
    ],
)
def test_what_belongs_to_a_frame_is_checked(tmp_path: Path, entries: str, what: str) -> None:
    recipe = "[recipes.pattern]\nradial_range = [0.1, 5]\n"
    (sentence,) = faults(tmp_path, f"{LEAST}{recipe}[detectors.det]\n{entries}").values()

    assert what in sentence


def test_documents_of_a_network_must_not_name_any_file(tmp_path: Path) -> None:
    found = faults(tmp_path, '[service]\ndirectory = "."')

    assert "over a network" in found["files.roots"]


def test_a_folder_is_mapped_to_one_that_may_be_read(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    text = '[service]\ndirectory = "."\n[files]\nroots = ["raw"]\nmap = {{ a = "{}" }}'

    assert "outside of files.roots" in faults(tmp_path, text.format("/other"))["files.map.a"]
    for inside in ("raw/a", "."):
        read(tmp_path, text.format(inside))


def test_reduced_documents_do_not_come_back(tmp_path: Path) -> None:
    stream = '{ url = "redis://a:1", stream = "s" }'
    text = LEAST + f'[sinks]\nredis = {stream}\n[source]\nkind = "redis"\nurl = "redis://a:1"\n'

    assert "documents come from" in faults(tmp_path, text + 'stream = "s"')["sinks"]
    read(tmp_path, text + 'stream = "t"')


def test_a_kind_that_is_not_known_is_one_fault(tmp_path: Path) -> None:
    found = faults(tmp_path, LEAST + '[source]\nkind = "kafka"\ntopic = "a"\ncurve_secret = "no"')

    assert set(found) == {"source.kind"}


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    found = faults(tmp_path, LEAST)

    assert "cannot be written" in found["service.directory"]
    assert "cannot be read" in found["files.roots"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "bluesky-azint serve --example > azint.toml"),
        (b"[service", "no TOML"),
        (b"a = 1\nb = x", "line 2"),
        (b"\xff\xfe", "UTF-8"),
        (b"a = " + 10000 * b"[", "no TOML"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes | None, what: str) -> None:
    if content is not None:
        (tmp_path / "azint.toml").write_bytes(content)

    with pytest.raises(ConfigError, match=what):
        read_config(tmp_path / "azint.toml")


def test_the_example_works_as_it_is(tmp_path: Path) -> None:
    config = read(tmp_path, example_config())

    assert config.service.directory == tmp_path / "azint"
    assert config.recipes["pattern"].error_model == "poisson"


def test_what_the_example_leaves_out_can_be_put_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILED_API_KEY", "open sesame")
    write_poni(tmp_path / "my.poni")
    (tmp_path / "calibrations").mkdir()
    service, source, rest = re.split(
        r"(?=^\[source\]|^# \[tiled\])", example_config(), flags=re.MULTILINE
    )
    uncommented = [
        re.sub(r"^# (?=\w+ = |\[)", "", part, flags=re.MULTILINE) for part in (service, rest)
    ]
    map_of_example = uncommented[1].replace("/mnt/raw", str(tmp_path))
    full = read(tmp_path, uncommented[0] + source + map_of_example)
    usual = read(tmp_path, example_config())

    assert full.service == usual.service  # the defaults are as they are said to be
    assert full.engine == usual.engine
    assert full.files.patterns == usual.files.patterns
    assert full.tiled is not None
    assert (full.tiled.raw, full.tiled.reduced, full.tiled.flush_seconds) == ("raw", "reduced", 0.5)
    assert full.recipes["cake"].npt_azim == 72
    assert full.detector("det_image").recipes == ("pattern",)
    assert full.sinks.pvs is not None


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["a:1", "~nobody/a", "\0"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)
SECTIONS = {
    "service": ("directory", "http", "log", "quiet_seconds", "max_memory_mb"),
    "source": ("kind", "address", "url", "entry", "options", "curve_secret"),
    "tiled": ("uri", "api_key_env", "raw"),
    "calibrations": ("store", "default"),
    "files": ("roots", "map", "patterns"),
    "recipes": ("pattern",),
    "detectors": ("det",),
    "sinks": ("zmq", "redis", "databroker", "pvs"),
}
FILES = st.fixed_dictionaries(
    {},
    optional={
        name: VALUES | st.fixed_dictionaries({}, optional=dict.fromkeys(keys, VALUES))
        for name, keys in SECTIONS.items()
    },
)


@given(FILES)
@settings(max_examples=25, deadline=None)
def test_rubbish_is_a_fault_and_never_another_error(entries: dict[str, Any]) -> None:
    from bluesky_azint.callbacks.service import config

    found: list[Fault] = []
    table = Table(entries, folder=Path("/"), faults=found)
    config._read(Path("/azint.toml"), table)
    table.done()

    assert all(fault.sentence for fault in found)


def test_what_is_named_is_looked_for(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """
        [service]
        directory = "."
        [source]
        kind = "python"
        entry = "bluesky_azint:no_such_function"
        [tiled]
        uri = "http://127.0.0.1:9"
        [engine]
        name = "scipy"
        [sinks]
        zmq = { address = "localhost:5577" }
        redis = { url = "redis://127.0.0.1:9" }
        """,
    )
    found = {finding.key: finding for finding in look_around(config)}

    assert {key for key, finding in found.items() if not finding.well} == {
        "source", "tiled", "sinks.redis",
    }  # fmt: skip
    assert "'bluesky_azint:no_such_function' is not there" in found["source"].answer
    assert "Nothing answers at 127.0.0.1:9" in found["tiled"].answer
    assert "127.0.0.1" in found["sinks.zmq"].answer
    assert found["engine"] == Finding("engine", True, "scipy")
    assert "GB free" in found["service.directory"].answer


def test_energy_and_motors_need_recipes_with_ranges(tmp_path: Path) -> None:
    moving = '[detectors.det]\ngeometry.dist = "det_z"\n'
    found = faults(tmp_path, LEAST + "[recipes.pattern]\nnpt = 10\n" + moving)
    assert "no radial_range" in found["detectors.det.recipes"]
    config = read(
        tmp_path, LEAST + "[recipes.pattern]\nnpt = 10\nradial_range = [0.1, 5]\n" + moving
    )
    assert config.detector("det").companions.changes_geometry
