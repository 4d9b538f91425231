"""Fitting: training, evaluation, and the choice of models and units."""

from neurostatic.fitting.evaluation import TierTensors, oracle, predict, score_tiers, score_units
from neurostatic.fitting.selection import best_models, oracle_table, rank_by_oracle, select_units
from neurostatic.fitting.training import train_network

__all__ = [
    "TierTensors",
    "best_models",
    "oracle",
    "oracle_table",
    "predict",
    "rank_by_oracle",
    "score_tiers",
    "score_units",
    "select_units",
    "train_network",
]
