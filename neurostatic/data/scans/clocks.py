"""Do the times of an export hold together? Clocks of the scan, flips of the trials, eye and treadmill."""

import numpy as np
import pandas as pd
import scipy

from neurostatic.data.responses import depth_count, presentation_duration, sampling_period
from neurostatic.data.scans.contract import FLIPS, Scan
from neurostatic.data.scans.tables import show_rows

# Plain limits that tell seconds from milliseconds, minutes and days, not what an experiment should be like.
VOLUME_S = (0.002, 5.0)  # from one volume to the next
SAMPLE_S = (1e-4, 1.0)  # from one sample of eye or treadmill to the next
LONGEST_SHOWN_S = 30.0
CLOCK_RATIO = 0.05  # by which the two clocks may run apart: true ones drift by 1e-5
LARGEST_JUMP = 0.5  # of a slice, of one clock against the other: more is a slice that one of them lost
JITTER = 5  # slices: a time that is off by itself is not a jump
UNIT_HINT = "are the times in s?"


def find_timing_problems(scan: Scan) -> list[str]:
    """Every contradiction in the times of a traces form of which the unreadable parts are None."""
    clocks = {
        name: np.where(np.isfinite(times), times, np.nan).astype(float)
        for name, times in (
            ("frame_times_stim.npy", scan.frame_times_stim),
            ("frame_times_behavior.npy", scan.frame_times_behavior),
        )
        if times is not None
    }
    problems = []
    for name, times in clocks.items():
        problems += _increasing(name, times)
    volumes, n_depths = {}, 0
    if scan.fields is not None and scan.fields.z_um.notna().all():
        n_depths = depth_count(scan.fields.z_um)
        volumes = {name: times[::n_depths] for name, times in clocks.items()}
    periods_s = {name: sampling_period(times) for name, times in volumes.items() if np.isfinite(np.diff(times)).any()}
    problems += _periods(periods_s)
    if len(clocks) == 2 and not problems:
        problems += _apart(*clocks.values())
    if volumes:
        problems += _counts(scan, volumes, n_depths)
    if scan.units is not None and "frame_times_stim.npy" in periods_s:
        problems += _delays(scan.units, periods_s["frame_times_stim.npy"])
    if scan.trials is not None:
        problems += _flips(scan.trials)
        if "frame_times_stim.npy" in clocks:
            problems += _onsets(scan.trials, clocks["frame_times_stim.npy"])
    for file, table in (("eye.csv", scan.eye), ("treadmill.csv", scan.treadmill)):
        if table is not None:
            problems += _behavior_times(file, table, clocks.get("frame_times_behavior.npy"))
    return problems


def _increasing(name: str, times: np.ndarray) -> list[str]:
    problems = []
    missing = np.flatnonzero(np.isnan(times))
    if len(missing):
        problems.append(
            f"{name}, entry {missing[0]} (from 0): found nan or infinite in {len(missing)} entries, "
            "allowed is a finite time"
        )
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        first = int(back[0]) + 1
        problems.append(
            f"{name}, entry {first} (from 0): time is not increasing, "
            f"found {times[first]:.6f} s after {times[first - 1]:.6f} s"
        )
    return problems


def _apart(stim_s: np.ndarray, behavior_s: np.ndarray) -> list[str]:
    """Do both clocks tick for the same slices? One that was lost would move all later ones."""
    n_slices = min(len(stim_s), len(behavior_s))
    if n_slices < 2:
        return []
    stim_s, behavior_s = stim_s[:n_slices], behavior_s[:n_slices]
    slice_s, behavior_slice_s = np.median(np.diff(stim_s)), np.median(np.diff(behavior_s))
    if abs(behavior_slice_s / slice_s - 1) > CLOCK_RATIO:
        return [
            f"frame_times_behavior.npy: found {behavior_slice_s:g} s from slice to slice (median), needed are the "
            f"{slice_s:g} s of frame_times_stim.npy; both clocks have the same slices"
        ]
    offset_s = scipy.ndimage.median_filter(behavior_s - stim_s, JITTER, mode="nearest")
    jumps = np.flatnonzero(np.abs(np.diff(offset_s)) > LARGEST_JUMP * slice_s)
    if not len(jumps):
        return []
    return [
        f"frame_times_stim.npy, frame_times_behavior.npy, entry {jumps[0] + 1} (from 0): from here on the clocks are "
        f"{abs(np.diff(offset_s)[jumps[0]]):g} s further apart, allowed is {LARGEST_JUMP * slice_s:g} s; "
        "both have the same slices (is one missing?)"
    ]


def _periods(periods_s: dict[str, float]) -> list[str]:
    low, high = VOLUME_S
    return [
        f"{name}: found {period_s:g} from volume to volume (median), allowed is {low:g} to {high:g} s; {UNIT_HINT}"
        for name, period_s in periods_s.items()
        if not low <= period_s <= high
    ]


def _counts(scan: Scan, volumes: dict[str, np.ndarray], n_depths: int) -> list[str]:
    """Numbers of volumes by traces and both clocks."""
    counts = {name: len(times) for name, times in volumes.items()}
    if scan.traces is not None:
        counts["traces.npy"] = scan.traces.shape[1]
    problems = []
    if max(counts.values()) - min(counts.values()) > 1:
        found = ", ".join(f"{count} in {name}" for name, count in counts.items())
        problems.append(
            f"volumes: found {found} (frame times are one for each of {n_depths} depths of fields.csv); "
            "at most 1 may be missing"
        )
    if min(counts.values()) < 2:
        problems.append(f"volumes: found {min(counts.values())}, at least 2 are needed")
    return problems


def _delays(units: pd.DataFrame, volume_s: float) -> list[str]:
    """Delays of more than a volume, or in another unit than ms."""
    problems = []
    delay_ms = units.ms_delay
    late = delay_ms > 1000 * volume_s
    if late.any():
        problems.append(
            f"units.csv, column ms_delay, {show_rows(units.index[late])}: "
            f"found {delay_ms[late].iloc[0]:g}, allowed is 0 to {1000 * volume_s:.1f} ms (one volume)"
        )
    if 0 < delay_ms.max() <= min(volume_s, 1):
        problems.append(
            f"units.csv, column ms_delay: found at most {delay_ms.max():g}, allowed is 0 to {1000 * volume_s:.1f} ms "
            "(one volume); are the delays in ms?"
        )
    return problems


def _flips(trials: pd.DataFrame) -> list[str]:
    """Order of the flips in a trial and of the trials; a dropped flip (NaN) is never out of order.

    Excluded trials may be as they are: that is what they are excluded for.
    """
    problems = []
    every, trials = trials, trials[~trials.excluded.astype(bool)]
    blank_s, onset_s, end_s = (trials[name] for name in FLIPS)
    for early, late, names in (
        (blank_s, onset_s, FLIPS[:2]),
        (onset_s, end_s, FLIPS[1:]),
        (blank_s, end_s, FLIPS[::2]),
    ):
        wrong = late <= early
        if wrong.any():
            problems.append(
                f"trials.csv, columns {', '.join(names)}, {show_rows(trials.index[wrong])}: flips out of order, "
                f"found {early[wrong].iloc[0]:.10g} s and {late[wrong].iloc[0]:.10g} s"
            )
    shown = trials[onset_s.notna()].sort_values("flip_onset_s", kind="stable")
    overlap = shown.flip_blank_s.to_numpy()[1:] < shown.flip_onset_s.to_numpy()[:-1]
    if overlap.any():
        first, rows = int(np.flatnonzero(overlap)[0]), show_rows(sorted(shown.index[1:][overlap]))
        problems.append(
            f"trials.csv, columns {', '.join(FLIPS[:2])}, {rows}: trials overlap, "
            f"found a blank from {shown.flip_blank_s.iloc[first + 1]:.10g} s on; "
            f"the image of row {shown.index[first]} comes on at {shown.flip_onset_s.iloc[first]:.10g} s"
        )
    numbered = shown.drop_duplicates("trial_idx").sort_values("trial_idx")
    back = numbered.flip_onset_s.diff() < 0
    if back.any():
        line = numbered.index[back][0]
        problems.append(
            f"trials.csv, columns trial_idx, {FLIPS[1]}, {show_rows(sorted(numbered.index[back]))}: "
            f"trial {numbered.trial_idx[line]:.0f} comes on at {numbered.flip_onset_s[line]:.10g} s, before an earlier "
            "one; trial_idx must count the trials in time (are the flips those of other rows?)"
        )
    shown_s = presentation_duration(every[FLIPS].to_numpy(), ~every.excluded.to_numpy(bool))
    if shown_s > LONGEST_SHOWN_S:
        problems.append(
            f"trials.csv, columns {', '.join(FLIPS[1:])}: images were shown for {shown_s:g} (median), "
            f"allowed is up to {LONGEST_SHOWN_S:g} s; {UNIT_HINT}"
        )
    return problems


def _onsets(trials: pd.DataFrame, slices_s: np.ndarray) -> list[str]:
    """Trials and the recording on the stimulus clock."""
    onset_s = trials.flip_onset_s
    if (onset_s.isna() | trials.flip_blank_s.isna()).all():
        return [f"trials.csv, columns {FLIPS[0]}, {FLIPS[1]}: no trial has both flips"]
    if np.isnan(slices_s).all():
        return []
    start_s, stop_s = np.nanmin(slices_s), np.nanmax(slices_s)
    if ((onset_s >= start_s) & (onset_s <= stop_s)).any():
        return []
    return [
        f"trials.csv, column {FLIPS[1]}: no onset lies within the recording, "
        f"{start_s:g} to {stop_s:g} s of frame_times_stim.npy"
    ]


def _behavior_times(file: str, table: pd.DataFrame, slices_s: np.ndarray | None) -> list[str]:
    times = table.time_s.dropna()
    if len(times) < 2:
        return [f"{file}, column time_s: has {len(times)} times, at least 2 are needed"]
    problems = []
    back = times.diff() < 0
    if back.any():
        line = times.index[back][0]
        problems.append(
            f"{file}, column time_s, {show_rows(times.index[back])}: time is decreasing, "
            f"found {times[line]:.10g} s after {times.shift()[line]:.10g} s"
        )
    steps_s = table.time_s.diff().dropna()
    low, high = SAMPLE_S
    if not len(steps_s):
        problems.append(f"{file}, column time_s: no two rows that follow each other have a time, some are needed")
    elif not low <= steps_s.median() < high:
        problems.append(
            f"{file}, column time_s: found {steps_s.median():g} from row to row (median), "
            f"allowed is {low:g} to {high:g} s; {UNIT_HINT}"
        )
    if slices_s is None or np.isnan(slices_s).all():
        return problems
    start_s, stop_s = np.nanmin(slices_s), np.nanmax(slices_s)
    if not (times.min() < stop_s and times.max() > start_s):
        problems.append(
            f"{file}, column time_s: found {times.min():g} to {times.max():g} s, outside the recording, "
            f"{start_s:g} to {stop_s:g} s of frame_times_behavior.npy"
        )
    return problems
