"""Reliability: how much of a unit's response an image can explain at all, by the oracle and other ceilings."""

from neurostatic.data.reliability.bootstrap import bootstrap_oracle, bootstrap_oracle_t_test
from neurostatic.data.reliability.ceilings import (
    cc_abs,
    cc_max,
    cc_norm,
    explainable_fraction,
    feve,
    jackknife_ceiling,
    noise_power,
    signal_power,
    single_trial_ceiling,
)
from neurostatic.data.reliability.oracle import oracle
from neurostatic.data.reliability.permutation import permutation_p
from neurostatic.data.reliability.repeats import MIN_ORACLE_REPEATS, Repeats
from neurostatic.data.reliability.table import reliability_table

__all__ = [
    "MIN_ORACLE_REPEATS",
    "Repeats",
    "bootstrap_oracle",
    "bootstrap_oracle_t_test",
    "cc_abs",
    "cc_max",
    "cc_norm",
    "explainable_fraction",
    "feve",
    "jackknife_ceiling",
    "noise_power",
    "oracle",
    "permutation_p",
    "reliability_table",
    "signal_power",
    "single_trial_ceiling",
]
