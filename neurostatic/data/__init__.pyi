from .anatomy import area_membership, layer_membership, select_units
from .behavior import map_clock, sample_eye, sample_treadmill
from .datasets import (
    Member,
    Normalization,
    StaticMultiDataset,
    build_dataset,
    normalization,
    open_multi_dataset,
)
from .export_files import EXPORT_FILES, MATCHING_FILES, OPTIONAL_FILES, RESPONSES_FORM, TRACES_FORM
from .exporters import write_sensorium
from .frames import area_resize
from .importers import is_sensorium, read_sensorium, sensorium_verdict
from .registration import register_units, stack_coordinates, stack_grid
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
    "EXPORT_FILES",
    "MATCHING_FILES",
    "OPTIONAL_FILES",
    "RESPONSES_FORM",
    "TRACES_FORM",
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
    "select_units",
    "sensorium_verdict",
    "stack_coordinates",
    "stack_grid",
    "write_sensorium",
]
