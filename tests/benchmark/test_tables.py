"""Tables say what was measured, and leave out what was not."""

from dataclasses import replace

from bluesky_azint.benchmark.cases import choose
from bluesky_azint.benchmark.report import Report
from bluesky_azint.benchmark.tables import tables
from tests.benchmark.examples import made_up


def _cell(report: Report, title: str, row: str, column: str) -> str:
    (table,) = [table for table in tables(report) if table.title.startswith(title)]
    (cells,) = [cells for cells in table.rows if cells[0] == row]
    return cells[table.rows[0].index(column)]


def test_tables_show_ours_beside_theirs_beside_the_goal() -> None:
    report = made_up()
    assert _cell(report, "ms a frame", "1D, bbox", "CPU") == "4.00"
    assert _cell(report, "ms a frame", "1D, bbox", "pyFAI") == "80.00"
    assert _cell(report, "ms a frame", "1D, bbox", "x CPU") == "20.0x"
    assert _cell(report, "ms a frame", "1D, bbox", "x wall") == "10.0x"
    assert _cell(report, "ms a frame", "1D, bbox", "reach") == "15x"
    assert _cell(report, "ms a frame", "1D, bbox", "") == "reach"
    assert _cell(report, "ms a frame", "1D, bbox", "error") == "5e-09"
    assert _cell(report, "Other ways", "1D, bbox", "x CPU") == "10.0x"
    assert _cell(report, "Times that", "overhead: 64 x 64 pixels", "ms") == "1.00"
    assert _cell(report, "Times that", "overhead: 64 x 64 pixels", "") == "short"
    (memory,) = [table.rows for table in tables(report) if table.title.startswith("Memory")]
    assert memory[1:] == [
        ["plan, no split", "peak", "60.0", "400.0", "0.15", "0.2", "0.1", "reach"],
        ["plan, no split", "lookup", "9.0", "36.0", "0.25", "0.6", "0.3", "aim"],
    ]
    assert _cell(report, "The limit", "1D, bbox", "part") == "33 %"


def test_what_was_not_measured_has_no_table() -> None:
    report = made_up()
    titles = [table.title.split()[0] for table in tables(replace(report, outcomes=[]))]
    assert titles == []
    alone = replace(report, outcomes=report.outcomes[2:3])
    assert _cell(alone, "ms a frame", "overhead: 64 x 64 pixels", "pyFAI") == "-"


def test_sums_are_told_of_whole_pixels_alone() -> None:
    report = made_up()
    speed = report.outcomes[0]
    assert _cell(report, "ms a frame", "1D, bbox", "sums") == ""
    whole = replace(speed, case=replace(speed.case, splitting="no"))
    assert _cell(replace(report, outcomes=[whole]), "ms a frame", "1D, bbox", "sums") == "exact"


def test_sizes_are_compared() -> None:
    report = made_up()
    sizes = [replace(report.outcomes[0], case=case) for case in choose(["pixels-[14]m"])]
    several = replace(report, outcomes=sizes)
    assert _cell(several, "CPU time of a pixel", "Eiger2_1M", "ns") == "1.00"
