from .anatomy import area_membership, layer_membership, units_in
from .behavior import map_clock, sample_eye, sample_treadmill
from .datasets import (
    Member,
    Normalization,
    StaticMultiDataset,
    build_dataset,
    normalization,
    open_multi_dataset,
)
from .exporters import write_sensorium
from .frames import area_resize
from .importers import is_sensorium, read_sensorium, sensorium_verdict
from .registration import register_units, stack_coordinates
from .reliability import (
    cc_abs,
    cc_max,
    cc_norm,
    explainable_fraction,
    feve,
    oracle,
    permutation_p,
    reliability_table,
)
from .responses import interpolate, lowpass_filter, sample_responses
from .scans import Scan, read_scan, read_stack_coordinates, read_structure_matches, scan_verdict
from .tiers import condition_tiers

__all__ = [
    "Member",
    "Normalization",
    "Scan",
    "StaticMultiDataset",
    "area_membership",
    "area_resize",
    "build_dataset",
    "cc_abs",
    "cc_max",
    "cc_norm",
    "condition_tiers",
    "explainable_fraction",
    "feve",
    "interpolate",
    "is_sensorium",
    "layer_membership",
    "lowpass_filter",
    "map_clock",
    "normalization",
    "open_multi_dataset",
    "oracle",
    "permutation_p",
    "read_scan",
    "read_sensorium",
    "read_stack_coordinates",
    "read_structure_matches",
    "register_units",
    "reliability_table",
    "sample_eye",
    "sample_responses",
    "sample_treadmill",
    "scan_verdict",
    "sensorium_verdict",
    "stack_coordinates",
    "units_in",
    "write_sensorium",
]
