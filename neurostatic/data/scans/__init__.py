"""Raw scan exports: the contract, the reader that checks it, and the verdict (StaticScan, ExcludedTrial)."""

from neurostatic.data.scans.contract import APERTURE, FLIPS, SOMA, STIM_TYPES, Scan
from neurostatic.data.scans.reading import read_scan
from neurostatic.data.scans.stacks import read_stack_coordinates, read_structure_matches
from neurostatic.data.scans.survey import Survey, survey
from neurostatic.data.scans.verdict import scan_counts, scan_verdict

__all__ = [
    "APERTURE",
    "FLIPS",
    "SOMA",
    "STIM_TYPES",
    "Scan",
    "Survey",
    "read_scan",
    "read_stack_coordinates",
    "read_structure_matches",
    "scan_counts",
    "scan_verdict",
    "survey",
]
