"""What becomes of a calibration: it is decided upon, reported and stored."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
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


def decided(calibration: Calibration, confirm: Confirm) -> MsgGenerator[str]:
    """The status that a calibration gets: "accepted", "candidate", or "" if it was refused."""
    if calibration.verdict != "review":
        return "accepted" if calibration.accepted else ""
    if callable(confirm):
        asked = confirm
        yes = yield from in_thread(lambda progress: asked(calibration))
    elif confirm:
        question = f"{said(calibration)}\nUse this calibration from now on? [y/N] "
        answer = yield from bps.input_plan(question)
        yes = str(answer).strip().lower() in ("y", "yes")
    else:
        yes = False
    return "accepted" if yes else "candidate"


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

    def keep(
        self, calibration: Calibration, image: NDArray[Any], status: str
    ) -> tuple[CalibrationRecord | None, str]:
        """The record, if there is one, and the path of the report."""
        files, path = self._report(calibration, image)
        if self.store is None or not status:
            return None, path
        record = CalibrationRecord.from_calibration(
            calibration,
            detector=self.detector,
            valid_from=self.moment,
            status=status,
            raw_uid=self.run_uid,
            files=files,
        )
        self.store.save(record)
        return record, path

    def _report(
        self, calibration: Calibration, image: NDArray[Any]
    ) -> tuple[Mapping[str, bytes], str]:
        """The report and its pictures. A calibration is not lost because nothing can be drawn."""
        if self.folder is None and self.store is None:
            return {}, ""
        from bluesky_azint.report import report_images, write_report

        name = f"{self.detector}_{self.moment:%Y-%m-%dT%H-%M-%S}_{self.run_uid[:8]}.html"
        with tempfile.TemporaryDirectory(prefix="azint-") as temporary:
            folder = self.folder or Path(temporary)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                pictures = report_images(calibration, image)
                path = write_report(
                    calibration, image, folder / name,
                    raw_uid=self.run_uid, date=self.moment, images=pictures,
                )  # fmt: skip
                files = {"report.html": path.read_bytes()}
            except (AzintError, OSError) as error:
                logger.warning("There is no report of the calibration: %s", error)
                return {}, ""
        files |= {f"{what}.png": picture for what, picture in pictures.items()}
        return files, "" if self.folder is None else str(path)


def said(calibration: Calibration) -> str:
    """A calibration in words."""
    return " ".join(calibration.reasons) or "The calibration is good."
