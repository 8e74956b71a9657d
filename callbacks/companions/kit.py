"""What is known of the companions of some images before there is a frame."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from bluesky_azint.callbacks.assets import Document
from bluesky_azint.callbacks.companions.conditions import Flat, Stand
from bluesky_azint.callbacks.companions.config import CompanionsConfig, DarkConfig
from bluesky_azint.callbacks.companions.readings import (
    Need,
    Readings,
    needed_by,
)
from bluesky_azint.conversions.pose import KEV_ANGSTROM
from bluesky_azint.errors import ConfigError
from bluesky_azint.goniometer import Goniometer
from bluesky_azint.io.goniometer import read_goniometer
from bluesky_azint.io.images import read_image


@dataclass(frozen=True, kw_only=True, eq=False)
class Kit:
    """A configuration, with the files that it names.

    Parameters
    ----------
    config
        The configuration.
    needs
        The numbers that a frame needs.
    flats
        By data key, ``""`` for all others.
    goniometer
        What gives the geometry in place of a calibration.
    """

    config: CompanionsConfig
    needs: Sequence[Need]
    flats: Mapping[str, Flat]
    goniometer: Goniometer | None = None

    @classmethod
    def of(cls, config: CompanionsConfig) -> Self:
        """Read the files of a configuration.

        Raises
        ------
        FormatError
            If one cannot be read.
        ConfigError
            If the goniometer has other motors than those that are configured.
        """
        flats = {key: _flat(given) for key, given in config.flat.items()}
        goniometer = None
        if config.goniometer is not None:
            goniometer = read_goniometer(config.goniometer.file)
            if config.goniometer.positions.keys() != set(goniometer.positions):
                raise ConfigError(
                    f"The goniometer {config.goniometer.file} has the positions "
                    f"{', '.join(goniometer.positions)}; the configuration says what "
                    f"{', '.join(config.goniometer.positions) or 'none'} is. Name each of them in "
                    "goniometer.positions."
                )
        return cls(config=config, needs=needed_by(config), flats=flats, goniometer=goniometer)

    @property
    def digest(self) -> str:
        """Equal where frames are given the same; an empty string where nothing belongs to them."""
        config = self.config
        settings = (config.monitor, config.exposure, config.energy, config.dark)
        parts = [*settings, config.geometry, self.flats and self._flats, self.goniometer]
        if not any(parts):
            return ""
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @property
    def _flats(self) -> dict[str, str]:
        return {key: flat.sha256 for key, flat in sorted(self.flats.items())}

    @property
    def dark(self) -> DarkConfig | None:
        """Which darks are subtracted."""
        return self.config.dark

    @property
    def needs_of_darks(self) -> list[Need]:
        """The numbers that a dark frame needs."""
        return [need for need in self.needs if need.role == "exposure"]

    def is_dark(self, start: Document, stream: str) -> bool:
        """Whether the frames of a stream of a run are dark ones."""
        if self.dark is None:
            return False
        marks = self.dark.runs
        dark_run = bool(marks) and all(start.get(key) == value for key, value in marks.items())
        return stream == self.dark.stream or dark_run

    def flat(self, data_key: str) -> Flat | None:
        """The flat of some images."""
        return self.flats.get(data_key, self.flats.get(""))

    def stand(self, readings: Readings) -> Stand:
        """How the geometry differs from the calibrated one, by what was read."""
        energy = readings.one("energy")
        moving = (
            self.config.goniometer.positions if self.config.goniometer else self.config.geometry
        )
        read = tuple((role, readings.one(role) or 0.0) for role in moving)
        return Stand(
            added=() if self.goniometer else read,
            wavelength=None if energy is None else KEV_ANGSTROM / energy * 1e-10,
            goniometer=self.goniometer,
            positions=read if self.goniometer else (),
            moves=readings.moves,
        )


def _flat(given: Path | ArrayLike) -> Flat:
    """A flat out of a file, or as it was given."""
    values = read_image(given) if isinstance(given, Path) else np.asarray(given)
    digest = hashlib.sha256(repr(values.shape).encode())
    digest.update(np.ascontiguousarray(values, dtype=np.float64).tobytes())
    source = str(given) if isinstance(given, Path) else "an array"
    return Flat(values=values, sha256=digest.hexdigest(), source=source)
