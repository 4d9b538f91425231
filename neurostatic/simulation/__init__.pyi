from .mouse import closed_loop_session, evoked_by, natural_session, simulate_scan
from .recovery import drive_ratio, matches_correct, noiseless_correlations

__all__ = [
    "closed_loop_session",
    "drive_ratio",
    "evoked_by",
    "matches_correct",
    "natural_session",
    "noiseless_correlations",
    "simulate_scan",
]
