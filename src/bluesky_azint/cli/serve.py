"""``bluesky-azint serve``: reduce every frame of a beamline, unattended."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bluesky_azint.callbacks.service.config import ServiceConfig

CONFIG_VARIABLE = "AZINT_CONFIG"
CONFIG_NAME = "azint.toml"

logger = logging.getLogger(__name__)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "serve",
        help="reduce every frame of a beamline, unattended",
        description="The service: takes documents from a message bus, reduces their frames, and "
        "puts the patterns into Tiled, until it is told to stop. Its log goes to stderr. Exit code "
        "0: stopped as asked; 1: failed; 2: the configuration is wrong.",
    )
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE",
        help=f"TOML; without it, what {CONFIG_VARIABLE} in the environment says, or {CONFIG_NAME}",
    )  # fmt: skip
    parser.add_argument(
        "--check",
        action="store_true",
        help="only check the configuration, and whether all that it names can be reached",
    )
    parser.add_argument(
        "--example", action="store_true", help="print a configuration to begin with"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve, or what else was asked for."""
    from bluesky_azint.callbacks.service.config import example_config, read_config

    if args.example:
        print(example_config(), end="")
        return 0
    config = read_config(args.config or os.environ.get(CONFIG_VARIABLE) or CONFIG_NAME)
    return _check(config) if args.check else _serve(config)


def _check(config: ServiceConfig) -> int:
    from bluesky_azint.callbacks.service.check import look_around
    from bluesky_azint.cli import FAILED
    from bluesky_azint.cli.tables import table

    findings = list(look_around(config))
    rows = [[found.key, "ok" if found.well else "FAILED", found.answer] for found in findings]
    print(table([[str(config.path), "ok", "nothing is wrong in it"], *rows], left=3))
    return 0 if all(found.well for found in findings) else FAILED


def _serve(config: ServiceConfig) -> int:
    from bluesky_azint.callbacks.service.logs import log_to
    from bluesky_azint.callbacks.service.serving import serve
    from bluesky_azint.cli import FAILED, WRONG_USAGE
    from bluesky_azint.errors import AzintError, RecipeError

    log = log_to(sys.stderr, form=config.service.log, level=config.service.level)
    try:
        return serve(config)
    except AzintError as error:
        logger.critical("%s", error)
        return WRONG_USAGE if isinstance(error, RecipeError) else FAILED
    except Exception:
        logger.critical("The service ends with an error.", exc_info=True)
        return FAILED
    finally:
        log.close()
