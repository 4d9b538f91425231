"""Pool the scans of a loop: confusion matrices, their diagonal, and the tests."""

import pandas as pd
from door import door, origin

from neurostatic.closed_loop.confusion import confusion_dataset, diagonal_entries, diagonal_targets, pool_confusions
from neurostatic.closed_loop.hypotheses import loop_tests
from neurostatic.store import read_table, write_arrays, write_table

with door(snakemake):
    options = snakemake.params.statistics
    scans = [read_table(path) for path in snakemake.input]
    targets = diagonal_targets([scan[scan.response == "raw"] for scan in scans])
    summaries, diagonals, tests = {}, [], []
    for response in ("normalized", "zscore"):
        summary = pool_confusions([scan[scan.response == response].drop(columns="response") for scan in scans])
        summaries[response] = summary
        diagonals.append(diagonal_entries(summary).merge(targets, on="unit_id", how="left").assign(response=response))
        test = loop_tests(summary, response, options["seed"], options["n_permutations"])
        tests.append(test.assign(response=response))
    made = origin(snakemake, options["seed"])
    loop = snakemake.wildcards.loop
    diagonal = pd.concat(diagonals).assign(loop=loop)
    tests = pd.concat(tests).assign(loop=loop)[["loop", "response", "test", "statistic", "p_value", "n"]]
    write_arrays(confusion_dataset(summaries), snakemake.output.confusion, made)
    write_table(diagonal, snakemake.output.diagonal, made)
    write_table(tests, snakemake.output.tests, made)
    print(tests.to_string(index=False))
