"""Runs reduced once more by workers, with the code that reduces them live.

::

    documents of a raw run ─> Reprocessor ─ tasks ─> workers: Reducers of some frames each
                                  └ reduced run <─ patterns, in the order of the frames ┘

The frames that the documents announce are divided among tasks, of one run or of several. What comes
back is written in order, by one process. Each frame is summed by itself, so that the patterns are
those of the live reduction to the last bit, on the same kind of machine. No more tasks are under
way than keep the workers busy: so many results are in memory, whatever the length of the runs.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Any, Self

from bluesky_azint.callbacks.outputs import Emit
from bluesky_azint.callbacks.reprocessing.documents import RunDocuments
from bluesky_azint.callbacks.reprocessing.gathering import Gathering, Reprocessed
from bluesky_azint.callbacks.reprocessing.tasks import Job, Task, TaskResult, reduce_task
from bluesky_azint.errors import AzintError, EngineError
from bluesky_azint.geometry import Geometry
from bluesky_azint.store import CalibrationRecord, CalibrationStore

Document = Mapping[str, Any]

_TASKS_PER_WORKER = 2  # under way at once: one that is computed, and one that waits for its turn
_PARTS_PER_WORKER = 4  # of a run, so that no worker has nothing to do for long at its end
_RESULT_BYTES = 128 * 2**20  # of a task, at the most
_BYTES_PER_BIN = 6 * 8  # of a pattern: its sums, and what they cost on the way


class Reprocessor:
    """Reduces raw runs with the help of workers.

    A context manager that takes what is under way at its end. After an error or an interruption it
    cancels that instead, and the reduced runs fail.

    Parameters
    ----------
    emit
        Where the documents of reduced runs go, as ``emit(name, doc)``.
    executor, workers
        What runs tasks, and how many at once.
    job
        How frames are reduced.
    directory
        Where the files with patterns are written.
    store, default
        Where calibrations are found, see `Reducer`.
    given
        A geometry or calibration in place of those that documents and store tell.
    progress
        Called as ``progress(announced, done)``, with how many frames have come and gone.
    """

    def __init__(
        self,
        emit: Emit,
        executor: Executor,
        *,
        workers: int,
        job: Job,
        directory: str | PathLike[str],
        store: CalibrationStore | None = None,
        default: Geometry | CalibrationRecord | None = None,
        given: Geometry | CalibrationRecord | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> None:
        self._executor = executor
        self._workers = workers
        self._job = job
        self._packed_job = pickle.dumps(job)
        self._gathering = partial(
            Gathering, emit, job, directory=directory, store=store, default=default, given=given
        )
        self._progress = progress or (lambda announced, done: None)
        self._runs: list[Gathering] = []
        # Of each run the tasks that are under way, and then its end: a stop document, or None.
        self._entries: deque[tuple[Gathering, Future[TaskResult] | Document | None]] = deque()

    @property
    def done(self) -> list[Reprocessed]:
        """What became of the runs so far."""
        return [outcome for run in self._runs for outcome in run.done]

    def reduce(self, documents: Iterable[tuple[str, Document]]) -> None:
        """Reduce a raw run; returns when its last tasks are under way.

        Raises
        ------
        EngineError
            If a worker fails.
        """
        run, kept = self._gathering(), RunDocuments()
        self._runs.append(run)
        stop = None
        for name, doc in kept.take(documents):
            if name == "stop":
                stop = doc
            else:
                run(name, doc)
        self._progress(run.frames, 0)
        for spans in run.divided(self._frames_per_task(run.frames)):
            while self._under_way() >= _TASKS_PER_WORKER * self._workers:
                self._take_next()
            task = Task(documents=kept.for_task(spans), spans=spans, calibrations=run.calibrations)
            self._entries.append((run, self._started(task)))
        self._entries.append((run, stop))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            while error is None and self._entries:
                self._take_next()
        except BaseException as failure:
            error = failure
            raise
        finally:
            if error is not None:
                self._cancel(error)

    def _frames_per_task(self, frames: int) -> int:
        bins = sum(recipe.npt * (recipe.npt_azim or 1) for recipe in self._job.recipes.values())
        most = max(1, _RESULT_BYTES // (bins * _BYTES_PER_BIN))
        return min(most, max(1, -(-frames // (_PARTS_PER_WORKER * self._workers))))

    def _started(self, task: Task) -> Future[TaskResult]:
        with _clear_errors():
            return self._executor.submit(reduce_task, self._packed_job, task)

    def _under_way(self) -> int:
        return sum(isinstance(entry, Future) for _, entry in self._entries)

    def _take_next(self) -> None:
        run, entry = self._entries[0]
        if isinstance(entry, Future):
            with _clear_errors():
                result = entry.result()
            self._progress(0, run.gather(result))
        else:
            run.end(entry)
        self._entries.popleft()

    def _cancel(self, error: BaseException) -> None:
        for _, entry in self._entries:
            if isinstance(entry, Future):
                entry.cancel()
        self._entries.clear()
        why = str(error) if isinstance(error, AzintError) else "The reduction was interrupted."
        for run in self._runs:
            run.fail(why)


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Say what is wrong with workers, whatever library tells."""
    try:
        yield
    except AzintError:
        raise
    except (Exception, CancelledError) as error:
        raise EngineError(_explanation(error)) from error


def _explanation(error: BaseException) -> str:
    kind = type(error).__name__
    if isinstance(error, BrokenProcessPool) or kind == "KilledWorker":
        return (
            "A worker ended unexpectedly, most likely for want of memory. Use fewer workers, each of "
            "which holds the tables of the detector and some of its frames."
        )
    if isinstance(error, ImportError):
        return (
            f"A worker lacks what it needs: {error}. Install the same version of bluesky-azint, with "
            "the same extras, where workers run."
        )
    if isinstance(error, CancelledError) or kind in ("CommClosedError", "FutureCancelledError"):
        return (
            f"The scheduler has given up the tasks ({kind}: {error}). See whether it still runs, and "
            "what it says in its log."
        )
    return f"A worker failed with {kind}: {error}"
