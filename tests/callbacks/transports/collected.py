"""What comes over a transport."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bluesky_azint.callbacks.transports import Source

Documents = list[tuple[str, dict[str, Any]]]
Collect = Callable[[Source], Documents]
RunScan = Callable[[Callable[[str, Any], object]], Documents]


@contextmanager
def collected(source: Source) -> Iterator[Documents]:
    """What a source gives, run in a thread until the end of the block."""
    documents: Documents = []
    thread = threading.Thread(target=source.run, args=(lambda *pair: documents.append(pair),))
    thread.start()
    try:
        yield documents
    finally:
        source.stop()
        thread.join(20)
        assert not thread.is_alive()
