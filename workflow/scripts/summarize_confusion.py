"""Pool the scans of a loop by the stimulus set they were shown: confusion matrices, their diagonal, and the tests."""

import pandas as pd
from door import door, origin

from neurostatic.closed_loop.confusion import (
    MODEL_TYPES,
    confusion_dataset,
    diagonal_entries,
    diagonal_targets,
    pool_confusions,
)
from neurostatic.closed_loop.hypotheses import loop_tests
from neurostatic.config import STIMULUS_SETS
from neurostatic.store import read_table, write_arrays, write_table

with door(snakemake):
    options, kinds = snakemake.params.statistics, snakemake.params.kinds
    summaries, diagonals, tests = {}, [], []
    for kind in dict.fromkeys(kinds):
        pair = tuple(MODEL_TYPES[image_class] for image_class in STIMULUS_SETS[kind])
        shown = [read_table(path) for path, its_kind in zip(snakemake.input, kinds, strict=True) if its_kind == kind]
        targets = diagonal_targets([scan[scan.response == "raw"] for scan in shown], pair)
        for response in ("normalized", "zscore"):
            summary = pool_confusions([scan[scan.response == response].drop(columns="response") for scan in shown])
            summaries[kind, response] = summary
            diagonal = diagonal_entries(summary, pair).merge(targets, on="unit_id", how="left")
            test = loop_tests(summary, response, options["seed"], options["n_permutations"], pair)
            diagonals.append(diagonal.assign(kind=kind, response=response))
            tests.append(test.assign(kind=kind, response=response))
    made = origin(snakemake, options["seed"])
    loop = snakemake.wildcards.loop
    diagonal = pd.concat(diagonals).assign(loop=loop)
    tests = pd.concat(tests).assign(loop=loop)[["loop", "kind", "response", "test", "statistic", "p_value", "n"]]
    write_arrays(confusion_dataset(summaries), snakemake.output.confusion, made)
    write_table(diagonal, snakemake.output.diagonal, made)
    write_table(tests, snakemake.output.tests, made)
    print(tests.to_string(index=False))
