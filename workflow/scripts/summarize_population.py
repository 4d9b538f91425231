"""The tests of every stimulus set over all loops, with the animal as the outermost level."""

import json
from pathlib import Path

import pandas as pd
from door import door, origin

from neurostatic.closed_loop.confusion import confusion_table
from neurostatic.closed_loop.diagonal import pair_of
from neurostatic.closed_loop.hypotheses import loop_tests
from neurostatic.store import read_arrays, write_table

with door(snakemake):
    options = dict(snakemake.params.statistics)
    confusions = dict(zip(snakemake.params.loops, map(read_arrays, snakemake.input.confusions), strict=True))
    verdicts = [json.loads(Path(path).read_text()) for path in snakemake.input.verdicts]
    animals = {loop: str(verdict["info"]["animal_id"]) for loop, verdict in zip(confusions, verdicts, strict=True)}
    tests = []
    for kind in dict.fromkeys(kind for confusion in confusions.values() for kind in confusion.kind.values.tolist()):
        shown = {loop: confusion for loop, confusion in confusions.items() if kind in confusion.kind.values}
        for response in ("normalized", "zscore"):
            summaries = {loop: confusion_table(confusion, kind, response) for loop, confusion in shown.items()}
            test = loop_tests(summaries, response, animals=animals, pair=pair_of(kind), **options)
            tests.append(test.assign(kind=kind, response=response))
    tests = pd.concat(tests).set_index(["kind", "response"]).reset_index()
    write_table(tests, snakemake.output[0], origin(snakemake, options["seed"]))
    print(tests.to_string(index=False))
