"""Cells matched by two tables of coordinates alone, without a project: `neurostatic match`."""

import os
from typing import Any

import pandas as pd

from neurostatic.closed_loop.cells import match_cells
from neurostatic.problems import report_problems
from neurostatic.store import read_table, written_whole


def match_tables(
    source: str, target: str, units: str | None, output: str | None, unmatched: str | None, limits: dict[str, Any]
) -> tuple[str, str]:
    """Match the cells of two tables and write what was asked for.

    Args:
        source, target: tables unit_id, x_um, y_um, z_um, and stack, or all of one stack.
        units: table of unit_id, of the source, whose matches are wanted; None: all.
        output, unmatched: where to write the matches, and the units without one; None: nowhere.
        limits: of `match_cells`.

    Returns:
        The matches as CSV text, and a summary of two lines.

    Raises:
        InputError: everything that is wrong with the tables.
    """
    paths = [source, target, *filter(None, [units])]
    tables = [read_table(path, ("unit_id",)) for path in paths]
    _report_unfit(paths, tables, [path for path in (output, unmatched) if path])
    cells = [table.assign(stack=table.get("stack", "the only one")) for table in tables[:2]]
    matches, lost = match_cells(cells[0], cells[1], tables[2]["unit_id"] if units else None, **limits)
    for table, path in ((matches, output), (lost, unmatched)):
        if path:
            with written_whole(path) as temporary:
                table.to_csv(temporary, index=False)
    return matches.to_csv(index=False).rstrip("\n"), _summary(matches, lost)


def _report_unfit(paths: list[str], tables: list[pd.DataFrame], written: list[str]) -> None:
    problems = []
    for path, table in zip(paths, tables, strict=True):
        if table.empty:
            problems.append(f"{path}: has no rows")
        elif table["unit_id"].dtype.kind != "i":
            problems.append(f"{path}: column 'unit_id' holds something that is no whole number")
    if len(tables) > 2:
        unknown = [str(unit) for unit in tables[2]["unit_id"] if unit not in set(tables[0]["unit_id"])]
        problems += [f"{paths[2]}: unit {', '.join(unknown)}: not in {paths[0]}"] if unknown else []
    stacks = [table.get("stack") for table in tables[:2]]
    if (stacks[0] is None) != (stacks[1] is None):
        problems.append("one of the tables has a column 'stack', the other has none; it must be in both or in none")
    elif stacks[0] is not None:
        problems += [
            f"{p}: a row has no stack" for p, of_scan in zip(paths, stacks, strict=False) if of_scan.isna().any()
        ]
        names = [sorted(of_scan.dropna().unique()) for of_scan in stacks]
        if not set(names[0]) & set(names[1]):
            first, second = (", ".join(of_scan) or "none" for of_scan in names)
            problems.append(f"the tables have no stack in common: {first} in the first, {second} in the second")
    places = [os.path.realpath(path) for path in (*paths, *written)]
    again = [path for path in written if places.count(os.path.realpath(path)) > 1]
    problems += [f"{path}: would be written, and is another of the files as well" for path in dict.fromkeys(again)]
    report_problems("match", problems)


def _summary(matches: pd.DataFrame, unmatched: pd.DataFrame) -> str:
    """How many were matched, how far away, how many of these would be wrong; and why the others were not."""
    of = f"of {len(matches) + len(unmatched)} units"
    away_um, wrong = matches["mean_distance_um"].median(), (1 - matches["posterior"]).sum()
    found = f", {away_um:.1f} um away (median); {wrong:.1f} of them are expected to be wrong" if len(matches) else ""
    kinds = unmatched["reason"].str.split(":").str[0].value_counts() if len(unmatched) else {}
    why = "; ".join(f"{count} {kind}" for kind, count in kinds.items())
    return f"matched: {len(matches)} {of}{found}\nunmatched: {len(unmatched)} {of}" + (f" ({why})" if why else "")
