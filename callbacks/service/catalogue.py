"""The Tiled server of the service: it may be away, and come back."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bluesky_azint.callbacks.server import RUNS_SPEC
from bluesky_azint.callbacks.service.catalogues import connect, container_at
from bluesky_azint.callbacks.service.sections import Catalogue
from bluesky_azint.errors import AzintError, ConfigError, FormatError, StoreError

if TYPE_CHECKING:
    from tiled.client.container import Container

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0


class RawCatalogue:
    """Raw runs in Tiled, the container for reduced ones, and backups that wait for it.

    Parameters
    ----------
    catalogue
        Where the server is, and its containers.
    root_map
        Beginnings of paths of raw files, and what they are called on this machine.
    """

    def __init__(self, catalogue: Catalogue, *, root_map: dict[str, str]) -> None:
        self._catalogue = catalogue
        self._root_map = root_map
        self._root: Container | None = None
        self._failed_at = -_RETRY_SECONDS
        self._lock = threading.Lock()

    @property
    def has_raw(self) -> bool:
        """Whether raw runs can be looked up."""
        return bool(self._catalogue.raw)

    def reduced(self) -> Container:
        """The container for reduced runs, which is made if it is not there.

        Raises
        ------
        StoreError
            If the server does not answer, or did not a moment ago.
        """
        path = self._catalogue.reduced
        try:
            return self._container(path).include_data_sources()
        except ConfigError:
            # A new server; other commands, who may be wrong about it, leave it alone.
            *outer, key = path.strip("/").split("/")
            parent = self._container("/".join(outer))
            return parent.create_container(key, specs=[RUNS_SPEC]).include_data_sources()

    def documents(self, uid: str) -> list[tuple[str, dict[str, Any]]] | None:
        """The documents of a raw run; None if it is not there, or not to its end.

        Raises
        ------
        StoreError
            If the server does not answer.
        """
        from bluesky_azint.callbacks.raw_runs import raw_documents, raw_run_ended

        try:
            raw = self._container(self._catalogue.raw)
            if not raw_run_ended(raw, uid):
                return None
            return list(raw_documents(raw[uid], root_map=self._root_map))
        except Exception as error:
            raise self._unreachable(error) from error

    def uids_since(self, since: float) -> list[str]:
        """The uids of the raw runs that began after a time, in seconds since the epoch.

        Raises
        ------
        StoreError
            If the server does not answer.
        """
        from tiled.queries import Comparison

        try:
            raw = self._container(self._catalogue.raw)
            found = raw.search(Comparison("ge", "start.time", since)).values()
            return [run.metadata["start"]["uid"] for run in found]
        except Exception as error:
            raise self._unreachable(error) from error

    def restore(self, backup: Path) -> None:
        """Write a run that waits in a file, and remove the file; put it aside if it is damaged.

        Raises
        ------
        StoreError
            If the server does not answer.
        """
        from bluesky_azint.callbacks.tiled_sink import restore_run

        try:
            restore_run(backup, self.reduced(), replace=True)
        except FormatError as error:
            damaged = backup.rename(backup.with_suffix(".damaged"))
            logger.error("%s The file is called %s now, and left alone.", error, damaged.name)
            return
        except Exception as error:
            raise self._unreachable(error) from error
        backup.unlink(missing_ok=True)
        logger.info("The run in %s is in Tiled now.", backup)

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            if self._root is not None:
                self._root.context.close()

    def _container(self, path: str) -> Container:
        with self._lock:
            if self._root is None:
                if time.monotonic() < self._failed_at + _RETRY_SECONDS:
                    raise StoreError("The Tiled server did not answer a moment ago.")
                try:
                    self._root = connect(self._catalogue)
                except Exception as error:
                    self._failed_at = time.monotonic()
                    raise self._unreachable(error) from error
            return container_at(self._root, path)

    def _unreachable(self, error: Exception) -> StoreError:
        if isinstance(error, AzintError):
            return StoreError(str(error))
        where = self._catalogue.uri or f"of the profile {self._catalogue.profile!r}"
        return StoreError(f"The Tiled server {where} fails: {error!r}.")
