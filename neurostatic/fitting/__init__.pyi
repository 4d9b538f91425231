from .checkpoints import Checkpoint
from .evaluation import evaluate_models, summarize_scores
from .predictor import Predictor, load
from .scores import predict, score_repeats, score_tiers, score_units
from .selection import best_models, rank_by_oracle, select_units
from .tensors import TierTensors
from .training import train_network

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
