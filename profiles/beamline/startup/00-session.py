"""A session at the beamline, and the worker of its queue server: the same scripts make both.

RE(calibrate())                                     once; then every run of det is reduced
RE(bp.scan([det], motor, 0, 1, 11))
last_reduced().pattern(0)
"""

import logging
import os
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import bluesky.plan_stubs as bps
import bluesky.plans as bp
from bluesky import RunEngine
from bluesky.utils import PersistentDict

from bluesky_azint.profiles import at_session_end

# The names to change.
BEAMLINE = "xrd"
DATA = Path(__file__).resolve().parents[1] / "data"  # what the services read and write, too
PROXY = "localhost:5577"  # where bluesky-0MQ-proxy takes documents in
TILED = os.environ.get("TILED_URI", "http://127.0.0.1:8000")  # its key is in TILED_API_KEY

# Plans tell what they do.
logging.basicConfig(format="%(message)s")
logging.getLogger("bluesky_azint.plans").setLevel(logging.INFO)

# What is opened here is closed when the session ends, the last first.
session = ExitStack()
at_session_end(session.close)

DATA.mkdir(exist_ok=True)
# Scan numbers go on from session to session. RE(plan) shows what came out of a plan; a queue server
# wants to know the runs only, and stops when it is handed more than it can unpack in half a second.
RE = RunEngine(
    PersistentDict(str(DATA / "metadata")),
    call_returns_result="bluesky_queueserver" not in sys.modules,
)
RE.md["beamline_id"] = BEAMLINE
