"""Fitting: training, evaluation, and the choice of models and units."""

from neurostatic.fitting.evaluation import TierTensors, predict, score_tiers, score_units
from neurostatic.fitting.selection import best_models, rank_by_oracle, select_units
from neurostatic.fitting.training import train_network

__all__ = [
    "TierTensors",
    "best_models",
    "predict",
    "rank_by_oracle",
    "score_tiers",
    "score_units",
    "select_units",
    "train_network",
]
