"""Fitting: training, evaluation, and the choice of models and units."""

from neurostatic.fitting.checkpoints import Checkpoint
from neurostatic.fitting.ensembles import evaluate_models, summarize_scores
from neurostatic.fitting.evaluation import predict, score_repeats, score_tiers, score_units
from neurostatic.fitting.predictor import Predictor, load
from neurostatic.fitting.selection import best_models, rank_by_oracle, select_units
from neurostatic.fitting.tensors import TierTensors
from neurostatic.fitting.training import train_network

__all__ = [
    "Checkpoint",
    "Predictor",
    "TierTensors",
    "best_models",
    "evaluate_models",
    "load",
    "predict",
    "rank_by_oracle",
    "score_repeats",
    "score_tiers",
    "score_units",
    "select_units",
    "summarize_scores",
    "train_network",
]
