"""Look-up: from a geometry and a grid to the table that engines work from."""

from __future__ import annotations

from bluesky_azint.lookup.build import build_lookup
from bluesky_azint.lookup.builder import Builder
from bluesky_azint.lookup.table import Entries, Lookup, as_matrix

__all__ = ["Builder", "Entries", "Lookup", "as_matrix", "build_lookup"]
