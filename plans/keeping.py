"""What becomes of a calibration: it is decided upon, reported and stored."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

from bluesky_azint.calibration.result import Calibration
from bluesky_azint.errors import AzintError
from bluesky_azint.plans.arguments import Confirm
from bluesky_azint.plans.background import in_thread
from bluesky_azint.store import CalibrationRecord, CalibrationStore

logger = logging.getLogger(__name__)

_REPORT = "report.html"


def decided(calibration: Calibration, confirm: Confirm, report: str = "") -> MsgGenerator[str]:
    """The status that a calibration gets: "accepted", "candidate", or "" if it was refused.

    Parameters
    ----------
    calibration
        What was found.
    confirm
        Whether to ask where somebody must look, or who says it.
    report
        Path of the report, for who is asked.
    """
    if calibration.verdict != "review":
        return "accepted" if calibration.accepted else ""
    if callable(confirm):
        asked = confirm
        yes = yield from in_thread(lambda progress: asked(calibration))
    elif confirm:
        where = f"\nThe report is {report}." if report else ""
        question = f"{said(calibration)}{where}\nUse this calibration from now on? [y/N] "
        answer = yield from bps.input_plan(question)
        yes = str(answer).strip().lower() in ("y", "yes")
    else:
        yes = False
    return "accepted" if yes else "candidate"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is kept of a calibration.

    Parameters
    ----------
    record
        In the store; None if there is none.
    report
        Path of the report, "" if there is none.
    """

    record: CalibrationRecord | None
    report: str


@dataclass(frozen=True, kw_only=True)
class Keeper:
    """Writes the report of a calibration, and stores the calibration.

    Parameters
    ----------
    detector
        Name of the detector.
    run_uid, moment
        Uid of the run with the image, and when it was taken.
    store
        None for none.
    folder
        For reports; None for none.
    """

    detector: str
    run_uid: str
    moment: datetime
    store: CalibrationStore | None
    folder: Path | None

    def keep(self, calibration: Calibration, image: NDArray[Any]) -> Kept:
        """Write the report, and store what is not refused: as a candidate if it is not accepted."""
        files = self._drawn(calibration, image)
        report = self._written(files)
        if self.store is None or calibration.verdict == "refused":
            return Kept(record=None, report=report)
        record = CalibrationRecord.from_calibration(
            calibration,
            detector=self.detector,
            valid_from=self.moment,
            status="accepted" if calibration.accepted else "candidate",
            raw_uid=self.run_uid,
            files=files,
        )
        self.store.save(record)
        return Kept(record=record, report=report)

    def accepted(self, kept: Kept) -> Kept:
        """The same once it is accepted, which somebody else may have done meanwhile."""
        if self.store is None or kept.record is None or kept.record.status == "accepted":
            return kept
        record = self.store.get(kept.record.uid)
        if record.status != "accepted":
            record = self.store.accept(record.uid, why="confirmed in the plan")
        return replace(kept, record=record)

    def _drawn(self, calibration: Calibration, image: NDArray[Any]) -> dict[str, bytes]:
        """The report and its pictures. A calibration is not lost because nothing can be drawn."""
        if self.folder is None and self.store is None:
            return {}
        from bluesky_azint.report import report_images, write_report

        try:
            pictures = report_images(calibration, image)
            with tempfile.TemporaryDirectory(prefix="azint-") as temporary:
                page = write_report(
                    calibration, image, Path(temporary) / _REPORT,
                    raw_uid=self.run_uid, date=self.moment, images=pictures,
                ).read_bytes()  # fmt: skip
        except Exception as error:
            known = isinstance(error, AzintError | OSError)
            logger.warning("There is no report of the calibration: %s", error, exc_info=not known)
            return {}
        return {_REPORT: page} | {f"{what}.png": picture for what, picture in pictures.items()}

    def _written(self, files: Mapping[str, bytes]) -> str:
        """Path of the copy of the report in the folder, "" if there is none."""
        if self.folder is None or _REPORT not in files:
            return ""
        name = f"{self.detector}_{self.moment:%Y-%m-%dT%H-%M-%S}_{self.run_uid[:8]}.html"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(files[_REPORT])
        except OSError as error:
            logger.warning("The report cannot be written to %s: %s", self.folder, error)
            return ""
        return str(self.folder / name)


def said(calibration: Calibration) -> str:
    """A calibration in words."""
    return " ".join(calibration.reasons) or "The calibration is good."
