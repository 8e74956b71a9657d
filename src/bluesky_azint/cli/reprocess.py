"""``bluesky-azint reprocess``: reduce runs once more, with another recipe or geometry."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bluesky_azint.cli.backfill import add_config, add_runs, check_runs

# What takes long to import is imported when it is needed: --help answers at once.
if TYPE_CHECKING:
    from concurrent.futures import Executor

    from bluesky_azint.callbacks.reprocessing.configured import Beamline
    from bluesky_azint.callbacks.reprocessing.gathering import Reprocessed
    from bluesky_azint.callbacks.reprocessing.tasks import Job
    from bluesky_azint.geometry import Geometry
    from bluesky_azint.reduction.recipe import Recipe
    from bluesky_azint.store import CalibrationRecord


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "reprocess",
        help="reduce runs once more, with another recipe or geometry",
        description="Reduces raw runs in Tiled once more, into new reduced runs, by the code that "
        "reduces them live, on all cores or on a dask cluster. Exit code 0: every frame has its "
        "pattern; 1: some have none, or a worker failed; 2: wrong usage.",
    )
    parser.set_defaults(run=run)
    add_runs(parser)
    parser.add_argument(
        "--recipe", action="append", default=[], metavar="FILE|NAME",
        help="TOML or JSON file with a recipe, or name of one in the configuration; may be given "
        "several times. Without it, all of the configuration",
    )  # fmt: skip
    geometry = parser.add_mutually_exclusive_group()
    geometry.add_argument(
        "--poni", type=Path, metavar="FILE", help="geometry in place of that of the runs"
    )
    geometry.add_argument(
        "--calibration", metavar="UID", help="stored calibration in place of that of the runs"
    )

    where = parser.add_argument_group("where runs are")
    add_config(where)
    where.add_argument(
        "--tiled", metavar="URI",
        help="instead of a configuration: the server, with the containers `raw` and `reduced`",
    )  # fmt: skip
    where.add_argument(
        "--directory", type=Path, metavar="DIR",
        help="with --tiled: where patterns go, which the server must be able to read",
    )  # fmt: skip
    where.add_argument(
        "--store", metavar="DIR|URI", help="with --tiled: where calibrations are kept"
    )

    workers = parser.add_argument_group("what computes")
    workers.add_argument(
        "--workers", type=int, metavar="N", help="processes here; one for each core"
    )
    workers.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a dask cluster instead: tcp://host:8786"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Reduce the runs; 0 if all their frames have patterns.

    Raises
    ------
    RecipeError
        If runs, recipes or the configuration are not what they should be.
    AzintError
        If Tiled or a scheduler does not answer, or a worker fails.
    """
    from bluesky_azint.callbacks.reprocessing.configured import tiled_errors
    from bluesky_azint.cli import FAILED
    from bluesky_azint.errors import RecipeError

    check_runs(args)
    if args.scheduler and args.workers is not None:
        raise RecipeError("--workers is for this machine; a --scheduler has workers of its own.")
    if args.workers is not None and args.workers < 1:
        raise RecipeError(f"--workers is {args.workers}; it must be at least 1.")
    with closing(_beamline(args)) as beamline, tiled_errors(beamline.raw.uri):
        done = _reprocessed(args, _with_recipes(beamline, args.recipe))
    _tell(done, as_json=args.json)
    whole = all(one.exit_status == "success" and one.reduced == one.frames for one in done)
    return 0 if whole else FAILED


def _reprocessed(args: argparse.Namespace, beamline: Beamline) -> list[Reprocessed]:
    from tqdm import tqdm

    from bluesky_azint.callbacks.raw_runs import find_runs, raw_documents
    from bluesky_azint.callbacks.reprocessing.reprocessor import Reprocessor
    from bluesky_azint.callbacks.tiled_sink import TiledSink

    job, given = _job(beamline), _given(args, beamline)
    found = find_runs(beamline.raw, uids=args.uids, since=args.since, until=args.until)
    with (
        TiledSink(beamline.reduced, backup_directory=beamline.directory / "backup") as sink,
        _pool(args) as (executor, workers),
        tqdm(unit=" frames", total=0, file=sys.stderr, disable=None, leave=False) as bar,
    ):

        def progress(announced: int, done: int) -> None:
            bar.total = (bar.total or 0) + announced
            bar.update(done)

        with Reprocessor(
            sink,
            executor,
            workers=workers,
            job=job,
            directory=beamline.directory,
            store=beamline.store,
            default=beamline.default,
            given=given,
            progress=progress,
        ) as reprocessor:
            for raw in found:
                reprocessor.reduce(raw_documents(raw, root_map=beamline.root_map))
        return reprocessor.done


def _beamline(args: argparse.Namespace) -> Beamline:
    """Where runs are, and how they are reduced."""
    import os

    from bluesky_azint.callbacks.reprocessing.configured import configured
    from bluesky_azint.callbacks.service.config import read_config
    from bluesky_azint.cli.serve import CONFIG_NAME, CONFIG_VARIABLE
    from bluesky_azint.errors import RecipeError

    if args.tiled is None:
        if args.directory is not None or args.store is not None:
            raise RecipeError(
                "--directory and --store go with --tiled; else, use the configuration."
            )
        config = read_config(args.config or os.environ.get(CONFIG_VARIABLE) or CONFIG_NAME)
        return configured(config)
    if args.config is not None or args.directory is None or not args.recipe:
        raise RecipeError(
            "With --tiled in place of a configuration, give --directory and --recipe too."
        )
    return _plain_beamline(args)


def _plain_beamline(args: argparse.Namespace) -> Beamline:
    from bluesky_azint.callbacks.reprocessing.configured import Beamline, reached
    from bluesky_azint.callbacks.service.catalogues import container_at
    from bluesky_azint.callbacks.service.sections import Catalogue
    from bluesky_azint.store import open_store

    root = reached(Catalogue(uri=args.tiled))
    return Beamline(
        raw=container_at(root, "raw"),
        reduced=container_at(root, "reduced"),
        directory=args.directory.absolute(),
        store=open_store(args.store) if args.store else None,
    )


def _with_recipes(beamline: Beamline, wanted: list[str]) -> Beamline:
    """The same with the recipes that were asked for; without any, with its own."""
    if not wanted:
        return beamline
    recipes = dict(_recipe(text, beamline) for text in wanted)
    return replace(beamline, recipes=recipes, chosen={})


def _recipe(text: str, beamline: Beamline) -> tuple[str, Recipe]:
    """Name and contents of a recipe: from a file, or out of the configuration."""
    import re
    import tomllib

    from bluesky_azint.errors import RecipeError
    from bluesky_azint.reduction.recipe import Recipe

    path = Path(text)
    if path.suffix.lower() not in (".toml", ".json"):
        if text not in beamline.recipes:
            known = ", ".join(beamline.recipes) or "none"
            raise RecipeError(
                f"There is no recipe {text!r} in the configuration, which has {known}; a file with a "
                "recipe has a name that ends with .toml or .json."
            )
        return text, beamline.recipes[text]
    try:
        content = path.read_text(encoding="utf-8")
        read = json.loads if path.suffix.lower() == ".json" else tomllib.loads
        values: Any = read(content)
        recipe = Recipe.from_dict(values)
    except (ValueError, TypeError, AttributeError) as error:
        raise RecipeError(f"{path} holds no recipe: {error}") from error
    return re.sub(r"\W", "_", path.stem), recipe


def _given(args: argparse.Namespace, beamline: Beamline) -> Geometry | CalibrationRecord | None:
    from bluesky_azint.errors import RecipeError
    from bluesky_azint.geometry import Geometry

    if args.poni is not None:
        return Geometry.from_poni(args.poni)
    if args.calibration is None:
        return None
    if beamline.store is None:
        raise RecipeError(
            f"The calibration {args.calibration} cannot be looked up: tell where calibrations are "
            "kept, with --store or in the section [calibrations] of the configuration."
        )
    return beamline.store.find(args.calibration)


def _job(beamline: Beamline) -> Job:
    from bluesky_azint.callbacks.reprocessing.tasks import Job
    from bluesky_azint.callbacks.service.pieces import READ_SECONDS

    return Job(
        timeout=READ_SECONDS,
        recipes=beamline.recipes,
        chosen=beamline.chosen,
        engine=beamline.engine,
        root_map=beamline.root_map,
        roots=beamline.roots,
        companions=beamline.companions or None,
        darks=beamline.darks,
    )


def _pool(args: argparse.Namespace) -> AbstractContextManager[tuple[Executor, int]]:
    from bluesky_azint.callbacks.reprocessing.pools import dask_pool, local_pool

    return dask_pool(args.scheduler) if args.scheduler else local_pool(args.workers)


def _tell(done: list[Reprocessed], *, as_json: bool) -> None:
    from bluesky_azint.cli.tables import table

    if as_json:
        print(json.dumps([asdict(one) for one in done], indent=1))
        return
    rows = [["raw run", "images", "reduced run", "status", "frames", "patterns"]]
    rows += [
        [
            *(one.raw_uid[:8], one.data_key, one.uid, one.exit_status),
            *map(str, (one.frames, one.reduced)),
        ]
        for one in done
    ]
    print(table(rows, left=4) if done else "There are no such runs with images.")
    for one in done:
        if one.reason:
            print(f"{one.raw_uid[:8]} {one.data_key}: {one.reason}")
