"""The virtual mouse: cells whose truth is known, and raw exports of their recordings."""

from neurostatic.simulation.mouse import closed_loop_session, evoked_by, natural_session, simulate_scan
from neurostatic.simulation.recovery import drive_ratio, matches_correct, single_trial_ceiling

__all__ = [
    "closed_loop_session",
    "drive_ratio",
    "evoked_by",
    "matches_correct",
    "natural_session",
    "simulate_scan",
    "single_trial_ceiling",
]
