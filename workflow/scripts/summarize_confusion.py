"""Pool the scans of a loop by the stimulus set they were shown: confusion matrices, their diagonal, and the tests."""

import pandas as pd
from door import door, origin

from neurostatic.closed_loop.confusion import TESTED, confusion_dataset, pool_confusions
from neurostatic.closed_loop.diagonal import diagonal_entries, diagonal_targets, pair_of
from neurostatic.closed_loop.hypotheses import loop_tests, untested_units
from neurostatic.store import read_table, write_arrays, write_table

with door(snakemake):
    loop, targets, options = snakemake.wildcards.loop, snakemake.params.targets, dict(snakemake.params.statistics)
    scans = dict(zip(targets, map(read_table, snakemake.input.scans), strict=True))
    matches, unmatched = read_table(snakemake.input.matches), read_table(snakemake.input.unmatched)
    summaries, diagonals, tests, gaps = {}, [], [], []
    for kind in dict.fromkeys(kind for kinds in targets.values() for kind in kinds):
        shown = [table[table.kind == kind] for scan, table in scans.items() if kind in targets[scan]]
        for response in TESTED:
            of_scans = [table[table.response == response] for table in shown]
            summaries[kind, response] = summary = pool_confusions(of_scans)
            of_cells = diagonal_targets(of_scans, pair_of(kind))
            diagonal = diagonal_entries(summary, pair_of(kind)).merge(of_cells, on="unit_id", how="left")
            test = loop_tests({loop: summary}, response, pair=pair_of(kind), **options)
            diagonals.append(diagonal.assign(loop=loop, kind=kind, response=response))
            tests.append(test.assign(loop=loop, kind=kind, response=response))
        untested = untested_units(summaries[kind, "normalized"], pair_of(kind))
        pooled = " + ".join(scan for scan in targets if kind in targets[scan])
        gaps.append(untested.assign(scan=pooled, reason=f"{kind}, " + untested["reason"]))
    unmatched = unmatched.rename(columns={"src_unit_id": "unit_id", "unit_id": "target_unit_id"})
    left_out = pd.concat([unmatched, *map(read_table, snakemake.input.left_out), *gaps])
    left_out = left_out.astype({"unit_id": "Int64", "target_unit_id": "Int64"})
    made, keys = origin(snakemake, options["seed"]), ["loop", "kind", "response"]
    diagonals, tests = (pd.concat(tables).set_index(keys).reset_index() for tables in (diagonals, tests))
    found = {scan: matches[matches.scan == scan] for scan in targets}
    write_arrays(confusion_dataset(summaries, found), snakemake.output.confusion, made)
    write_table(diagonals, snakemake.output.diagonal, made)
    write_table(tests, snakemake.output.tests, made)
    write_table(left_out[["scan", "unit_id", "target_unit_id", "reason"]], snakemake.output.left_out, made)
    print(tests.to_string(index=False))
