"""Choose the best model of each type, rank units by their oracle, and select those whose MEIs are made."""

import numpy as np
import pandas as pd
from door import door, origin

from neurostatic.config import Selection
from neurostatic.fitting.selection import best_models, rank_by_oracle, select_units
from neurostatic.problems import InputError
from neurostatic.store import read_table, write_table

COLUMNS = [
    "scan",
    "unit_id",
    "oracle",
    "rank",
    "top_ptile",
    "cnn_corr",
    "lin_corr",
    "cnn_fraction_oracle",
    "lin_fraction_oracle",
    "hu_rank",
    "left_out",
]

with door(snakemake):
    selection = Selection(**snakemake.params.selection)
    scores = []
    for path in snakemake.input.scores:
        network, seed = path.removesuffix(".csv").split("/")[-2:]
        table = read_table(path, ("scan", "unit_id", "tier", "pearson")).assign(network=network, seed=int(seed))
        if table.empty:
            print(f"{network}, seed {seed}: no model, its log says why")
        else:
            scores.append(table)
    if not scores:
        raise InputError("select_units: there is no model, all trainings failed; their logs say why")
    scores = pd.concat(scores)
    best = best_models(scores, snakemake.params.model_types, selection.best_model)
    units = read_table(snakemake.input.reliability, ("scan", "unit_id", "oracle"))
    for column, model_type in (("cnn_corr", "cnn"), ("lin_corr", "linear")):
        model = best[best.model_type == model_type].iloc[0]
        of_model = (scores.network == model.network) & (scores.seed == model.seed) & (scores.tier == "test")
        test = scores[of_model].rename(columns={"pearson": column})
        units = units.merge(test[["scan", "unit_id", column]], on=["scan", "unit_id"], how="left")
    ranked = rank_by_oracle(units)
    try:
        selected = select_units(ranked, selection)
    except InputError as error:
        if snakemake.params.needed:
            raise
        print(f"{error}; MEIs are made of all units, stimuli of none")
        selected = ranked.assign(**dict.fromkeys(COLUMNS[-4:], np.nan))
    made = origin(snakemake)
    write_table(selected[COLUMNS], snakemake.output.units, made)
    write_table(best, snakemake.output.models, made)
    print(best.to_string(index=False))
    not_positive = int((~(selected.oracle > 0)).sum())
    print(f"{not_positive} units without a positive oracle: left out, a fraction of it has no meaning")
    for step, n_units in selected.left_out[selected.hu_rank.isna()].value_counts(sort=False).items():
        print(f"{n_units} units left out by {step}")
    print(f"oracle: median {selected.oracle.median():.3f}; {selected.hu_rank.notna().sum()} units selected")
