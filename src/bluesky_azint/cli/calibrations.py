"""``bluesky-azint calibrations``: look at what is stored, accept it or reject it."""

from __future__ import annotations

import argparse
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bluesky_azint.store import CalibrationRecord, CalibrationStore

STORE_VARIABLE = "AZINT_STORE"
_SHORT = 8  # letters of a uid, where it is not all that is asked for


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "calibrations",
        help="list, show, accept and reject stored calibrations",
        description="The calibrations in a store. A scan is reduced with the latest accepted one "
        "of its detector. Uids may be abbreviated as long as only one begins so.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = _action(actions, "list", run_list, "print one line for each")
    listing.add_argument("--detector", metavar="NAME", help="of this detector")
    listing.add_argument("--status", help="candidate, accepted, rejected or superseded")
    for name in ("since", "until"):
        listing.add_argument(
            f"--{name}", type=moment, metavar="TIME", help=f"valid from a time {name} this one"
        )
    listing.add_argument("--json", action="store_true", help="print JSON")

    show = _action(actions, "show", run_show, "print all that is known of one", uid=True)
    show.add_argument("--json", action="store_true", help="print JSON")

    accept = _action(actions, "accept", run_accept, "have one be used from now on", uid=True)
    accept.add_argument("--why", default="", metavar="TEXT", help="for those who look later")

    reject = _action(actions, "reject", run_reject, "have one not be used any more", uid=True)
    reject.add_argument("--why", required=True, metavar="TEXT", help="for those who look later")

    export = _action(actions, "export", run_export, "write one to a file", uid=True)
    export.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FILE",
        help="its suffix tells the program, as for `convert`: .poni ...",
    )  # fmt: skip
    export.add_argument("--file", metavar="NAME", help="this of its files instead: report.html ...")
    export.add_argument("--force", action="store_true", help="replace a file that is there")

    importing = _action(actions, "import", run_import, "store the geometry of a file")
    importing.add_argument("file", type=Path, metavar="FILE", help=".poni ..., as for `convert`")
    importing.add_argument(
        "--detector", required=True, metavar="NAME",
        help="name of the detector device as it stands in the documents",
    )  # fmt: skip
    importing.add_argument("--mask", metavar="FILE", help="what is not zero is masked")
    importing.add_argument(
        "--valid-from", type=moment, metavar="TIME", help="ISO 8601, in local time if not told; now"
    )
    importing.add_argument(
        "--accept", action="store_true", help="have it be used; else it is a candidate"
    )


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: object,
    text: str,
    uid: bool = False,
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text)
    parser.set_defaults(run=run)
    if uid:
        parser.add_argument("uid", metavar="UID")
    add_store(parser)
    return parser


def add_store(parser: argparse.ArgumentParser) -> None:
    """Let a command be told where calibrations are kept."""
    parser.add_argument(
        "--store",
        metavar="DIR|URI",
        help=f"folder or Tiled server; without it, what {STORE_VARIABLE} in the environment says",
    )


def moment(text: str) -> datetime:
    """A time as it is written on a command line."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time in ISO 8601; write it as 2026-03-01 or 2026-03-01T12:00."
        ) from None


def opened(store: str | None, *, new: bool = False) -> CalibrationStore:
    """The store that a command was told.

    Raises
    ------
    RecipeError
        If it was told none.
    StoreError
        If there is none, and it is not to be made.
    """
    from bluesky_azint.errors import RecipeError
    from bluesky_azint.store import open_store

    where = store or os.environ.get(STORE_VARIABLE)
    if not where:
        raise RecipeError(
            f"Tell where calibrations are kept: with --store, or in {STORE_VARIABLE} of the "
            "environment."
        )
    return open_store(where, new=new)


def run_list(args: argparse.Namespace) -> int:
    """Print the calibrations."""
    from bluesky_azint.cli.tables import table
    from bluesky_azint.errors import RecipeError
    from bluesky_azint.store.status import STATUSES

    if args.status not in (None, *STATUSES):
        raise RecipeError(f"--status is {args.status!r}; it must be one of {', '.join(STATUSES)}.")
    records = opened(args.store).records(
        args.detector, since=args.since, until=args.until, status=args.status
    )
    lines = [_line(record) for record in records]
    if args.json:
        print(json.dumps(lines, indent=1))
    elif lines:
        rows = [["" if value is None else str(value) for value in line.values()] for line in lines]
        for line, row in zip(lines, rows, strict=True):
            row[0] = line["uid"][:_SHORT]
            row[-1] = "" if line["residual_px"] is None else f"{line['residual_px']:.3f}"
        print(table([[*lines[0]], *rows], left=5))
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Print a calibration."""
    record = opened(args.store).find(args.uid)
    if args.json:
        history = [change.to_dict() for change in record.history]
        print(json.dumps({**record.to_dict(), "history": history}, indent=1))
    else:
        print(_shown(record))
    return 0


def run_accept(args: argparse.Namespace) -> int:
    """Accept a calibration."""
    store = opened(args.store)
    return _tell(store.accept(store.find(args.uid).uid, why=args.why))


def run_reject(args: argparse.Namespace) -> int:
    """Reject a calibration."""
    store = opened(args.store)
    return _tell(store.reject(store.find(args.uid).uid, why=args.why))


def run_export(args: argparse.Namespace) -> int:
    """Write a calibration, or one of its files, and print where."""
    from bluesky_azint.cli.outputs import check_outputs
    from bluesky_azint.errors import RecipeError
    from bluesky_azint.io.calibration import write_calibration
    from bluesky_azint.io.poni import write_poni

    check_outputs(args.output, force=args.force)
    record = opened(args.store).find(args.uid)
    if args.file is not None:
        if args.file not in record.files:
            known = ", ".join(record.files) or "none"
            raise RecipeError(f"{record.summary} has no file {args.file!r}; it has {known}.")
        args.output.write_bytes(record.files[args.file])
    elif args.output.suffix.lower() == ".poni":
        write_poni(record.geometry, args.output, [f"{record.summary}: {record.status}"])
    else:
        write_calibration(record.geometry, args.output)
    print(args.output)
    return 0


def run_import(args: argparse.Namespace) -> int:
    """Store the geometry of a file, and print its uid."""
    from importlib.metadata import version

    from bluesky_azint.io.calibration import read_calibration
    from bluesky_azint.io.images import read_mask
    from bluesky_azint.store import CalibrationRecord

    record = CalibrationRecord(
        detector=args.detector,
        geometry=read_calibration(args.file),
        mask=read_mask(args.mask) if args.mask else None,
        valid_from=args.valid_from or datetime.now(UTC),
        status="accepted" if args.accept else "candidate",
        metadata={
            "imported_from": str(args.file.absolute()),
            "software": f"bluesky-azint {version('bluesky-azint')}",
        },
    )
    opened(args.store, new=True).save(record)
    print(record.uid)
    return 0


def _tell(record: CalibrationRecord) -> int:
    print(f"{record.uid} {record.status}")
    return 0


def _line(record: CalibrationRecord) -> dict[str, Any]:
    """What a list tells of a record."""
    return {
        "uid": record.uid,
        "status": record.status,
        "detector": record.detector,
        "valid_from": record.valid_from.isoformat(timespec="seconds"),
        "verdict": record.metadata.get("verdict"),
        "residual_px": _figures(record).get("residual_px"),
    }


def _figures(record: CalibrationRecord) -> dict[str, Any]:
    """What `figures` gave; nothing for a record that is from elsewhere."""
    found = record.metadata.get("figures")
    return found if isinstance(found, dict) else {}


def _shown(record: CalibrationRecord) -> str:
    from bluesky_azint.cli.tables import describe
    from bluesky_azint.io.poni import poni_lines

    figures = _figures(record)
    parts = [
        f"{record.summary}: {record.status}",
        f"saved {record.created.isoformat(sep=' ', timespec='seconds')}",
    ]
    parts += [
        f"{key.replace('_', ' ')}: {record.metadata[key]}"
        for key in ("raw_uid", "software", "imported_from")
        if record.metadata.get(key)
    ]
    if record.files:
        parts.append(f"files: {', '.join(record.files)}")
    parts += [
        "",
        describe(figures) if "verdict" in figures else "\n".join(poni_lines(record.geometry)),
    ]
    if record.history:
        parts += ["", "history"]
    parts += [
        f"  {change.at.isoformat(sep=' ', timespec='seconds')}  {change.status} by {change.who}"
        + (f": {change.why}" if change.why else "")
        for change in record.history
    ]
    return "\n".join(parts)
