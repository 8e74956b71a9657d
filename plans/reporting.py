"""Runs that tell what came out of them: as an event, and in how they end."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, Protocol, TypeVar

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator, RunEngineControlException

from bluesky_azint.errors import CalibrationRefused

OnRefusal = Literal["return", "raise"]
Value = float | int | str


class Outcome(Protocol):
    """What comes out of a run."""

    @property
    def verdict(self) -> str:
        """As that of a calibration."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not accepted."""


Found = TypeVar("Found", bound=Outcome)


class Results:
    """Values that are read like a device, to be in the documents.

    Parameters
    ----------
    name
        Of the device; a value ``verdict`` is called ``<name>-verdict``.
    values
        Numbers and text. None is NaN.
    """

    parent = None

    def __init__(self, name: str, values: Mapping[str, Value | None]) -> None:
        self.name = name
        self._time = time.time()
        self._values = {
            f"{name}-{key}": float("nan") if value is None else value
            for key, value in values.items()
        }

    def read(self) -> OrderedDict[str, Any]:
        """The values."""
        return OrderedDict(
            (key, {"value": value, "timestamp": self._time}) for key, value in self._values.items()
        )

    def describe(self) -> OrderedDict[str, Any]:
        """What they are."""
        return OrderedDict(
            (key, {"source": f"plan:{self.name}", "shape": [], **_kind(value)})
            for key, value in self._values.items()
        )


def publish(stream: str, values: Mapping[str, Value | None]) -> MsgGenerator[None]:
    """Put values into the run, as an event of a stream of their own."""
    yield from bps.create(name=stream)
    yield from bps.read(Results(stream, values))
    yield from bps.save()


def reporting_run(
    measure: Callable[[str], MsgGenerator[Found]],
    md: Mapping[str, Any],
    raised: Collection[str] = (),
) -> MsgGenerator[Found]:
    """A run that fails, with the reasons, if what comes out of it is refused.

    Parameters
    ----------
    measure
        What is done in the run, by its uid.
    md
        Metadata of the run.
    raised
        Verdicts that are an error after the run, by which a queue is stopped.

    Returns
    -------
    What `measure` returns.

    Raises
    ------
    CalibrationRefused
        If the verdict is one that is raised.
    """
    uid: str = yield from bps.open_run(md)
    found: Found = yield from bpp.contingency_wrapper(measure(uid), except_plan=failed_run)  # type: ignore[no-untyped-call]
    refused = found.verdict == "refused"
    reason = " ".join(found.reasons)
    yield from bps.close_run(
        exit_status="fail" if refused else "success", reason=reason if refused else ""
    )
    if found.verdict in raised:
        raise CalibrationRefused(f"{md['plan_name']}: {found.verdict}. {reason}")
    return found


def failed_run(error: Exception) -> MsgGenerator[None]:
    """Close the run as one that an error has ended, or somebody at the RunEngine."""
    if isinstance(error, RunEngineControlException):
        yield from bps.close_run(exit_status=getattr(error, "exit_status", "abort"))
    else:
        yield from bps.close_run(exit_status="fail", reason=str(error))


def _kind(value: Value) -> dict[str, str]:
    if isinstance(value, str):
        return {"dtype": "string"}
    if isinstance(value, int):
        return {"dtype": "integer", "dtype_numpy": "<i8"}
    return {"dtype": "number", "dtype_numpy": "<f8"}
