"""What was found in an export that could be read: counts, checks passed, checksum of every file."""

from typing import Any

import numpy as np

from neurostatic.data.export_files import EXPORT_FILES
from neurostatic.data.responses import depth_count
from neurostatic.data.scans.checks import CHECKS
from neurostatic.data.scans.contract import SOMA, Scan
from neurostatic.store import checksum


def scan_verdict(scan: Scan) -> dict[str, Any]:
    """Counts of a scan, the checks it passed and the SHA-256 of each of its files, as plain values."""
    return {
        "scan": scan.name,
        "form": scan.form,
        "info": dict(scan.info),
        "counts": scan_counts(scan),
        "checks_passed": list(CHECKS),
        "files": {name: checksum(scan.folder / name) for name in EXPORT_FILES if (scan.folder / name).is_file()},
    }


def scan_counts(scan: Scan) -> dict[str, int]:
    """How many trials, units, images and so on a scan has; structure_matched are units that a stack has a cell for."""
    repeats = scan.trials.loc[~scan.trials.excluded].groupby(["image_class", "image_id"]).size()
    counts = {
        "trials": len(scan.trials),
        "excluded": int(scan.trials.excluded.sum()),
        "units": len(scan.units),
        "soma": int((scan.units.mask_type == SOMA).sum()),
        "silent_units": int(scan.survey.silent.sum()),
        "fields": len(scan.fields),
        "depths": depth_count(scan.fields.z_um),
        "images": len(scan.image_table),
        "images_shown": len(repeats),
        "images_repeated": int((repeats > 1).sum()),
        "most_repeats": int(repeats.max()),
        "stacks": 0 if scan.stack_coordinates is None else int(scan.stack_coordinates["stack"].nunique()),
        "structure_matched": 0 if scan.structure_matches is None else int(scan.structure_matches["unit_id"].nunique()),
    }
    if scan.traces is not None and scan.eye is not None:  # the traces form
        counts["volumes"] = int(scan.traces.shape[1])
        counts["eye_samples_not_tracked"] = int(scan.eye.radius_px.isna().sum())
        counts["trials_with_dropped_flips"] = int(_dropped_flips(scan).sum())
    return counts


def _dropped_flips(scan: Scan) -> np.ndarray:
    missing = np.isnan(scan.flips_s())
    return missing[:, ~missing.all(0)].any(1)
