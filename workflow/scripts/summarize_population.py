"""The tests of every stimulus set over all loops, with the animal as the outermost level."""

import json
from pathlib import Path

import pandas as pd
from door import door, origin

from neurostatic.closed_loop.confusion import TESTED, pool_confusions
from neurostatic.closed_loop.diagonal import pair_of, population_diagonal
from neurostatic.closed_loop.hypotheses import loop_tests
from neurostatic.store import read_table, write_table

with door(snakemake):
    options = dict(snakemake.params.statistics)
    info = {Path(path).stem: json.loads(Path(path).read_text())["info"] for path in snakemake.input.verdicts}
    animals = {source: str(of_source["animal_id"]) for source, of_source in info.items()}
    scans = list(zip(snakemake.params.scans, map(read_table, snakemake.input.scans), strict=True))
    tests, diagonals = [], []
    for kind in dict.fromkeys(kind for scan, _ in scans for kind in scan["kinds"]):
        for response in TESTED:
            by_source = {}  # loops of one source have its cells in common: they are pooled as the scans of one are
            for scan, table in scans:
                if kind in scan["kinds"]:
                    shown = table[(table.kind == kind) & (table.response == response)]
                    by_source.setdefault(scan["source"], []).append(shown)
            summaries = {source: pool_confusions(tables) for source, tables in by_source.items()}
            test = loop_tests(summaries, response, animals=animals, pair=pair_of(kind), **options)
            tests.append(test.assign(kind=kind, response=response))
            diagonals.append(population_diagonal(summaries, pair_of(kind)).assign(kind=kind, response=response))
    made = origin(snakemake, options["seed"])
    tests = pd.concat(tests).set_index(["kind", "response"]).reset_index()
    diagonals = pd.concat(diagonals).set_index(["source", "kind", "response"]).reset_index()
    write_table(tests, snakemake.output.tests, made)
    write_table(diagonals, snakemake.output.diagonal, made)
    print(tests.to_string(index=False))
