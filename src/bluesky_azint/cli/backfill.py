"""``bluesky-azint backfill``: reduce the frames that the service has missed."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

# What takes long to import is imported when it is needed: --help answers at once.
if TYPE_CHECKING:
    from bluesky_azint.callbacks.reprocessing.backfill import Backfilled


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "backfill",
        help="reduce the frames that the service has missed",
        description="Compares raw runs in Tiled with their reduced runs, frame by frame, and reduces "
        "what is missing, as the service would. It may run beside the service. Exit code 0: every "
        "frame has its pattern; 1: some have none; 2: the configuration is wrong.",
    )
    parser.set_defaults(run=run)
    add_runs(parser)
    add_config(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="only tell what is missing; nothing is written"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Let a command be told raw runs."""
    parser.add_argument("uids", nargs="*", metavar="UID", help="of raw runs, or how they begin")
    for name in ("since", "until"):
        parser.add_argument(
            f"--{name}",
            metavar="TIME",
            help=f"instead: all runs {name} then; ISO 8601, or how long ago: 90min, 12h, 2d",
        )


def add_config(parser: argparse._ActionsContainer) -> None:
    """Let a command be told the configuration of the service."""
    from bluesky_azint.cli.serve import CONFIG_NAME, CONFIG_VARIABLE

    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE",
        help=f"of the service; without it, what {CONFIG_VARIABLE} says, or {CONFIG_NAME}",
    )  # fmt: skip


def check_runs(args: argparse.Namespace) -> None:
    """See that runs were told, in one way.

    Raises
    ------
    RecipeError
        If they were not.
    """
    from bluesky_azint.errors import RecipeError

    by_time = args.since is not None or args.until is not None
    if bool(args.uids) == by_time:
        raise RecipeError(
            "Tell which runs: either by their uids, or by time, as in --since 2d, and not by both."
        )


def run(args: argparse.Namespace) -> int:
    """Fill in what is missing; 0 if nothing is then.

    Raises
    ------
    RecipeError
        If runs, times or the configuration are not what they should be.
    AzintError
        If Tiled does not answer, or has no such run.
    """
    import os

    from tqdm import tqdm

    from bluesky_azint.callbacks.raw_runs import find_runs, raw_documents, raw_run_ended
    from bluesky_azint.callbacks.reprocessing.backfill import backfill
    from bluesky_azint.callbacks.reprocessing.configured import configured, tiled_errors
    from bluesky_azint.callbacks.service.config import read_config
    from bluesky_azint.callbacks.service.pieces import reducer_options
    from bluesky_azint.callbacks.tiled_sink import TiledSink, backup_name
    from bluesky_azint.cli import FAILED
    from bluesky_azint.cli.serve import CONFIG_NAME, CONFIG_VARIABLE

    check_runs(args)
    config = read_config(args.config or os.environ.get(CONFIG_VARIABLE) or CONFIG_NAME)
    backup = config.service.directory / "backup"
    found: list[Backfilled] = []
    with (
        closing(configured(config)) as beamline,
        tiled_errors(beamline.raw.uri),
        TiledSink(beamline.reduced, backup_directory=backup, replaces=True) as sink,
        tqdm(unit=" frames", file=sys.stderr, disable=None, leave=False) as bar,
    ):
        options = reducer_options(config)
        for raw in find_runs(beamline.raw, uids=args.uids, since=args.since, until=args.until):
            found += backfill(
                raw_documents(raw, root_map=beamline.root_map),
                sink,
                is_there=partial(raw_run_ended, beamline.reduced),
                dry_run=args.dry_run,
                progress=bar.update,
                **options,
            )
    lost = [one for one in found if (backup / backup_name(one.uid)).exists()]
    _tell(found, as_json=args.json)
    for one in lost:
        print(f"Run {one.uid} could not be written to Tiled; it is in {backup}.", file=sys.stderr)
    return FAILED if lost or any(one.missing for one in found) else 0


def _tell(found: list[Backfilled], *, as_json: bool) -> None:
    from bluesky_azint.cli.tables import table

    if as_json:
        print(json.dumps([{**asdict(one), "missing": one.missing} for one in found], indent=1))
        return
    rows = [["raw run", "images", "frames", "before", "filled in", "missing"]]
    rows += [
        [
            one.raw_uid[:8],
            one.data_key,
            *map(str, (one.frames, one.before, one.filled, one.missing)),
        ]
        for one in found
    ]
    print(table(rows, left=2) if found else "There are no such runs with images.")
    for one in found:
        if one.missing:
            print(f"{one.raw_uid[:8]} {one.data_key}: {one.why or 'what is missing can be had.'}")
