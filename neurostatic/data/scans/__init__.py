"""Raw scan exports: the contract, the reader that checks it, and the verdict (StaticScan, ExcludedTrial)."""

from neurostatic.data.scans.contract import (
    EXPORT_FILES,
    FLIPS,
    OPTIONAL_FILES,
    RESPONSES_FORM,
    SOMA,
    STIM_TYPES,
    TRACES_FORM,
    Scan,
)
from neurostatic.data.scans.reading import read_scan
from neurostatic.data.scans.verdict import file_checksum, scan_verdict

__all__ = [
    "EXPORT_FILES",
    "FLIPS",
    "OPTIONAL_FILES",
    "RESPONSES_FORM",
    "SOMA",
    "STIM_TYPES",
    "TRACES_FORM",
    "Scan",
    "file_checksum",
    "read_scan",
    "scan_verdict",
]
