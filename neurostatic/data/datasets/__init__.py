"""Data sets: built from a scan, normalized, and several taken as one (StaticMultiDataset, DataConfig)."""

from neurostatic.data.datasets.building import PUBLISHED, build_dataset, unit_table
from neurostatic.data.datasets.hashing import data_hash
from neurostatic.data.datasets.layout import assemble
from neurostatic.data.datasets.multi import (
    RELIABILITY_SEED,
    Member,
    StaticMultiDataset,
    open_multi_dataset,
    trials_of_type,
)
from neurostatic.data.datasets.normalization import Normalization, normalization, scaling_factors
from neurostatic.data.datasets.reliability import measure_reliability
from neurostatic.data.datasets.signals import Signals, valid_trials

__all__ = [
    "PUBLISHED",
    "RELIABILITY_SEED",
    "Member",
    "Normalization",
    "Signals",
    "StaticMultiDataset",
    "assemble",
    "build_dataset",
    "data_hash",
    "measure_reliability",
    "normalization",
    "open_multi_dataset",
    "scaling_factors",
    "trials_of_type",
    "unit_table",
    "valid_trials",
]
