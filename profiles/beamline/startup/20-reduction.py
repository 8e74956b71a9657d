"""Where documents go: to the service, which reduces every run, and into Tiled."""

import time

import httpx
from event_model import RunRouter
from tiled.client import from_uri

from bluesky_azint.callbacks import AzintRun, TiledSink, reduced_runs, restore_run
from bluesky_azint.callbacks.backup import append_documents
from bluesky_azint.callbacks.transports.zmq import zmq_publisher

# The service need not be there: what it missed it finds in Tiled.
publish = zmq_publisher(PROXY)
session.callback(publish.close)
RE.subscribe(publish)


def container(key):
    """The container for runs of that name, made if there is none."""
    if key not in tiled:
        tiled.create_container(key, specs=["CatalogOfBlueskyRuns"])
    return tiled[key]


def in_a_file(name, start):
    """What keeps a run for restore_run."""
    path = DATA / "backup" / f"{start['uid']}.jsonl"
    return [lambda name, doc: append_documents(path, [(name, doc)])], []


try:
    httpx.get(f"{TILED}/healthz", timeout=5).raise_for_status()
    tiled = from_uri(TILED)
    write_raw = TiledSink(container("raw"), backup_directory=DATA / "backup")
    container("reduced")  # where the service writes
    session.callback(write_raw.close)
except httpx.HTTPError as error:
    tiled, write_raw = None, RunRouter([in_a_file])
    print(
        f"Tiled does not answer at {TILED}: {error}. You can measure; runs are kept in "
        f"{DATA / 'backup'}. Start Tiled, and then this session again."
    )
RE.subscribe(write_raw)


def last_reduced(timeout: float = 60.0) -> AzintRun:
    """The reduced run of the last run with frames, once the service has done all of them."""
    (last,) = container("raw").keys().tail(1)
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        runs = reduced_runs(container("reduced"), last)
        if runs and runs[-1].metadata.get("stop"):
            return runs[-1]
        time.sleep(0.2)
    raise TimeoutError(
        f"Run {last} is not reduced after {timeout:g} s. How the service is: curl "
        "localhost:8090/health; what it waits for is in its log."
    )
