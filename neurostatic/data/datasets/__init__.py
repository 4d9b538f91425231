"""Data sets: built from a scan, normalized, and several taken as one (StaticMultiDataset, CorrectedAreaLayer)."""

from neurostatic.data.datasets.building import (
    BEHAVIOR,
    EYE_AXES,
    Signals,
    assemble,
    build_dataset,
    unit_table,
    valid_trials,
)
from neurostatic.data.datasets.multi import Member, StaticMultiDataset, open_multi_dataset
from neurostatic.data.datasets.normalization import Normalization, normalization, scaling_factors

__all__ = [
    "BEHAVIOR",
    "EYE_AXES",
    "Member",
    "Normalization",
    "Signals",
    "StaticMultiDataset",
    "assemble",
    "build_dataset",
    "normalization",
    "open_multi_dataset",
    "scaling_factors",
    "unit_table",
    "valid_trials",
]
