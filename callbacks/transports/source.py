"""Where documents come from: what all sources have in common, and a door for foreign ones.

A source is run in a thread, and hands on documents until it is stopped from another one. It never
gives up: what it has lost, it waits for; what it cannot read, it leaves out and counts.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from bluesky_azint.errors import FormatError, RecipeError

logger = logging.getLogger(__name__)

Document = Mapping[str, Any]
Take = Callable[[str, dict[str, Any]], object]

CONNECTED = "connected"
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
_REFUSALS_SHOWN = 5


class Source(Protocol):
    """Something that documents come from.

    Attributes
    ----------
    state
        ``"connected"``, or what it waits for: ``"waiting for ..."``.
    refused
        How many messages were no documents.
    """

    @property
    def state(self) -> str:
        """How it is, in words."""

    @property
    def refused(self) -> int:
        """How many messages were no documents."""

    def run(self, take: Take) -> None:
        """Hand on documents until `stop` is called, in the thread that calls this.

        Parameters
        ----------
        take
            Takes the name of a document and the document. What it raises ends the run, and is
            raised here.
        """

    def stop(self) -> None:
        """End the run, for good; from any thread, before or after it began."""


class BaseSource:
    """What all sources share: how they are, what they refuse, and how they wait.

    Parameters
    ----------
    name
        What it is connected to, in words, without passwords.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = f"waiting for {name}"
        self.refused = 0
        self._stopped = threading.Event()
        self._told: set[str] = set()
        self._wait = FIRST_WAIT

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name}, {self.state}>"

    def stop(self) -> None:
        """End the run, for good; from any thread, before or after it began."""
        self._stopped.set()

    def _connected(self) -> None:
        """Note that documents come, or can come."""
        if self.state != CONNECTED:
            logger.info("Documents come from %s.", self.name)
        self.state = CONNECTED
        self._told.clear()
        self._wait = FIRST_WAIT

    def _waiting(self, reason: object) -> None:
        """Note that documents cannot come; each reason for it is told once."""
        self.state = f"waiting for {self.name} ({reason})"
        if self.state not in self._told:
            self._told.add(self.state)
            logger.warning("No documents come: %s. It is tried again and again.", self.state)

    def _pause(self) -> None:
        """Wait before the next attempt, longer each time."""
        self._stopped.wait(self._wait)
        self._wait = min(2 * self._wait, LONGEST_WAIT)

    def _refuse(self, error: FormatError) -> None:
        """Count a message that is no document; the first few are told, and then ever fewer."""
        self.refused += 1
        if self.refused <= _REFUSALS_SHOWN or str(self.refused).strip("0") == "1":
            logger.error("Message %d from %s is left out: %s", self.refused, self.name, error)


@runtime_checkable
class Dispatcher(Protocol):
    """What hands on documents in bluesky, bluesky-kafka and bluesky-nats."""

    def subscribe(self, func: Callable[[Any, Any], object]) -> object:
        """Have documents handed to a callback."""

    def start(self) -> object:
        """Hand on documents until it is stopped."""

    def stop(self) -> object:
        """Stop."""


class DispatcherSource(BaseSource):
    """Documents from a dispatcher of bluesky, or of something like it.

    Parameters
    ----------
    make
        Makes the dispatcher; and another one, whenever one has ended or failed. Its ``start`` must
        not return before it is stopped.
    name
        What it is connected to, in words.
    """

    def __init__(self, make: Callable[[], Dispatcher], name: str) -> None:
        super().__init__(name)
        self._make = make
        self._dispatcher: Dispatcher | None = None
        self._failure: BaseException | None = None

    def run(self, take: Take) -> None:
        """Hand on documents until `stop` is called; see `Source`."""

        def handed_on(name: object, doc: dict[str, Any]) -> None:
            if self._failure is not None or self._stopped.is_set():
                return
            self._connected()
            try:
                take(getattr(name, "name", str(name)), doc)
            # Dispatchers swallow exceptions, and go on.
            except BaseException as error:  # noqa: BLE001
                self._failure = error
                self.stop()

        while not self._stopped.is_set():
            try:
                self._dispatcher = self._make()
                self._dispatcher.subscribe(handed_on)
                self.state = CONNECTED  # as far as can be known
                if not self._stopped.is_set():
                    self._dispatcher.start()
                self._waiting("it has ended")
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  anything
                if not self._stopped.is_set():
                    self._waiting(f"{type(error).__name__}: {error}")
            self._pause()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End the run, for good; from any thread, before or after it began."""
        super().stop()
        if self._dispatcher is not None:
            try:
                _stop(self._dispatcher)
            except Exception as error:  # noqa: BLE001  it has ended by itself
                logger.debug("%s does not stop: %s", self.name, error)


def source_from_entry(entry: str, **options: Any) -> Source:  # noqa: ANN401  of anyone's factory
    """Make a source with a function of anyone's.

    Parameters
    ----------
    entry
        Where the function is: ``"package.module:function"``. It gives a `Source`, or a dispatcher
        as bluesky has them.
    options
        What the function is called with.

    Raises
    ------
    RecipeError
        If there is no such function, if it fails, or if what it gives is no source.
    """
    module, _, name = entry.partition(":")
    try:
        factory = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(
            f"{entry!r} is not there: {error}. Give a module and the name of a function in it, "
            "such as 'beamline.bus:documents'."
        ) from error
    try:
        first = factory(**options)
    except Exception as error:
        raise RecipeError(f"{entry!r} fails with the options {options}: {error}") from error
    if isinstance(first, Dispatcher):
        made = [first]
        return DispatcherSource(lambda: made.pop() if made else factory(**options), entry)
    if not callable(getattr(first, "run", None)) or not callable(getattr(first, "stop", None)):
        raise RecipeError(
            f"{entry!r} gives {first!r}, which is no source of documents: it needs the methods "
            "run(take) and stop(), or subscribe(callback), start() and stop()."
        )
    source: Source = first
    return source


def _stop(dispatcher: Dispatcher) -> None:
    """Stop a dispatcher from any thread, on its own event loop if it has one."""
    loop = getattr(dispatcher, "loop", None)
    if loop is None:
        dispatcher.stop()
    elif inspect.iscoroutinefunction(dispatcher.stop):
        asyncio.run_coroutine_threadsafe(dispatcher.stop(), loop)
    else:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
