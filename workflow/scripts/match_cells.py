"""Find the cells that own a stimulus again in each later scan of the loop."""

import json
from pathlib import Path

import pandas as pd
from door import door, origin

from neurostatic.closed_loop.cells import match_cells
from neurostatic.closed_loop.matching import COORDINATE_COLUMNS
from neurostatic.data.scans.stacks import has_positions, read_stack_coordinates, read_structure_matches
from neurostatic.store import open_arrays, read_table, write_table

NO_POSITIONS = pd.DataFrame(columns=COORDINATE_COLUMNS, dtype=float)


def somata(export: Path, store: str, read) -> pd.DataFrame:
    """Rows of the units of the data set in a table of the export."""
    table = read(export)
    return table[table.unit_id.isin(open_arrays(store).unit_id.values)]


with door(snakemake):
    loop, options = snakemake.params.loop, snakemake.params.matching
    shown = dict(zip(snakemake.params.kinds, map(read_table, snakemake.input.manifests), strict=True))
    owners = {kind: set(s.owner_unit_id[s.owner_scan == loop["source"]]) for kind, s in shown.items()}
    verdicts = [snakemake.input.source_verdict, *snakemake.input.later_verdicts]
    exports = [Path(json.loads(Path(verdict).read_text())["source"]) for verdict in verdicts]
    files = list(zip(exports, [snakemake.input.source, *snakemake.input.later], strict=True))
    by_structure = options["method"] == "structure"  # then positions are for the figures, and may be missing
    placed = [
        NO_POSITIONS if by_structure and not has_positions(file[0]) else somata(*file, read_stack_coordinates)
        for file in files
    ]
    structures = [somata(*file, read_structure_matches) if by_structure else None for file in files]
    found, lost = [], []
    for i, scan in enumerate(snakemake.params.later, start=1):
        kinds = loop["targets"].get(scan, list(owners))  # an oracle scan concerns every cell
        wanted = sorted(set().union(*(owners[kind] for kind in kinds)))
        structure = (structures[0], structures[i]) if by_structure else None
        matches, unmatched = match_cells(placed[0], placed[i], wanted, structure=structure, **options)
        found.append(matches.assign(scan=scan))
        lost.append(unmatched.assign(scan=scan))
        print(f"{scan}: {len(matches)} of {len(wanted)} cells, median {matches.mean_distance_um.median():.1f} um away")
        for unit in unmatched.itertuples():
            print(f"{scan}: unit {unit.src_unit_id}: {unit.reason}")
    made = origin(snakemake, options["seed"])
    for tables, path in ((found, snakemake.output.matches), (lost, snakemake.output.unmatched)):
        table = pd.concat(tables, ignore_index=True)
        write_table(table[["scan", *table.columns.drop("scan")]], path, made)
