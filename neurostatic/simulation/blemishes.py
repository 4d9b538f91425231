"""What goes wrong in an experiment, so that every reader of an export has to survive it, and a log of it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from neurostatic.config import Simulation
from neurostatic.simulation.cortex import DEPTHS_UM
from neurostatic.simulation.recording import Recording, Session, delay_ms
from neurostatic.simulation.stacks import Registration, register_stacks
from neurostatic.simulation.states import States

CLOCK_DRIFT = 2e-5  # of the behavior clock against the stimulus clock
CLOCK_OFFSET_S = 37.2
CLOCK_JITTER_S = 1e-4  # of the slice times on the behavior clock
WINDOW_MIDDLE_S = 0.3  # after the onset: a response is a sample of the filtered trace there
REACH_S = 0.75  # filter, delay and interpolation: whatever lies further from the middle cannot touch the response
SACCADE_PX = 1.0  # the gaze jumped by more than this from one video frame to the next
COARSE_FIELD = 7  # the third depth once more, at half the resolution; its depth is read a little lower
COARSE_DEPTH = 2
COARSE_Z_UM = DEPTHS_UM[COARSE_DEPTH] + 0.4


@dataclass(frozen=True)
class Experiment:
    """A recording as the lab has it.

    Attributes:
        units: columns of units.csv; one of the masks after the cells is a soma by mistake, its trace is all NaN.
        trials: columns of trials.csv. eye, treadmill: columns of these tables, on the behavior clock.
        traces: (unit, volume) with the NaN of bad frames.
        slices_stim_s: (slice,) s, ends in mid-volume; slices_behavior_s: (slice,) s, ends with the last whole volume.
        registration: of the somata in each stack.
        blemish: (trial,) text, what went wrong within reach of its response.
        dead_unit_id: the soma that is no cell.
        recorded_s: first and last time (stimulus clock) of scan, camera and treadmill.
    """

    session: Session
    units: pd.DataFrame
    trials: pd.DataFrame
    traces: np.ndarray
    slices_stim_s: np.ndarray
    slices_behavior_s: np.ndarray
    eye: pd.DataFrame
    treadmill: pd.DataFrame
    registration: Registration
    blemish: np.ndarray
    dead_unit_id: int
    recorded_s: dict[str, tuple[float, float]]


class Log:
    """What went wrong in each trial, in words; noise (clock jitter, pupils blurred by saccades) is not in it.

    Args:
        trials: with the flips as they were before any was dropped.
    """

    def __init__(self, trials: pd.DataFrame):
        self.flips_s = trials[["flip_blank_s", "flip_end_s"]].to_numpy()
        self.middle_s = trials.flip_onset_s.to_numpy() + WINDOW_MIDDLE_S
        self.words: list[list[str]] = [[] for _ in range(len(trials))]

    def of_trials(self, trials: np.ndarray, words: str) -> None:
        """It happened to these trials (positions)."""
        for trial in trials:
            self.words[trial].append(words)

    def of_times(self, times_s: np.ndarray, words: str) -> None:
        """It happened at these times (increasing, stimulus clock), to the trials within reach of one of them."""
        first, last = (np.searchsorted(times_s, self.middle_s + reach_s) for reach_s in (-REACH_S, REACH_S))
        self.of_trials(np.flatnonzero(last > first), words)

    def of_outside(self, start_s: float, stop_s: float, words: str) -> None:
        """Nothing was recorded before and after these times, for the trials that reach beyond them."""
        early = np.minimum(self.middle_s - REACH_S, self.flips_s[:, 0]) < start_s
        late = np.maximum(self.middle_s + REACH_S, self.flips_s[:, 1]) > stop_s
        self.of_trials(np.flatnonzero(early | late), words)

    def text(self) -> np.ndarray:
        """(trial,) words of each trial, '; ' between them, '' where nothing went wrong."""
        return np.array(["; ".join(words) for words in self.words])


def spoil(recording: Recording, config: Simulation, rng: np.random.Generator) -> Experiment:
    """Let go wrong what goes wrong in an experiment.

    Trials: onset, blank and end flips are dropped, trials are thrown out. Scan: it ends in mid-volume; a few frames
    are bad; a mask that is no cell counts as a soma. Clocks: the behavior clock is offset, drifts and jitters. Eye:
    blinks, a pupil out of sight, blurred saccades, video frames dropped, time stamps lost. Treadmill: gaps with and
    without time stamps. Camera and treadmill start late and stop early. Stacks: see `register_stacks`.

    Args:
        rng: of the recording. What each kind of blemish draws beside it comes from a generator of its own, so that
            one kind does not move the others.
    """
    session = recording.session

    def own(kind: int) -> np.random.Generator:
        return np.random.default_rng([config.seed, 4, session.day, 1, kind])

    log = Log(recording.trials)
    trials = _spoil_trials(recording.trials, log, rng, own(0))
    n_slices, n_depths = len(recording.slices_s), len(DEPTHS_UM)
    slices_s = recording.slices_s[: n_slices - n_depths + own(1).integers(1, n_depths)]  # stopped by hand
    behavior_s = behavior_clock(recording.slices_s) + rng.normal(0, CLOCK_JITTER_S, n_slices)
    units, dead = _mistake_for_soma(recording, own(2))
    traces = recording.traces[:, :-1].copy()
    _lose_frames(traces, units, slices_s[::n_depths], log, own(3))
    traces[dead] = np.nan
    scan_s = (slices_s[0], slices_s[-1])
    log.of_outside(*scan_s, "outside the scan")
    eye, eye_s = _film_eye(recording.states, scan_s, log, rng, own(4))
    treadmill, treadmill_s = _read_treadmill(recording.states, scan_s, log, rng, own(5))
    registration = register_stacks(recording, units.iloc[dead], config, rng, own(6))
    return Experiment(
        session,
        units,
        trials,
        traces,
        slices_s,
        behavior_s[: n_slices - n_depths],
        eye,
        treadmill,
        registration,
        log.text(),
        int(units.unit_id[dead]),
        {"scan": scan_s, "eye": eye_s, "treadmill": treadmill_s},
    )


def behavior_clock(times_s: np.ndarray) -> np.ndarray:
    """Times of the stimulus clock on the behavior clock: offset + (1 + drift) t."""
    return CLOCK_OFFSET_S + times_s * (1 + CLOCK_DRIFT)


def _spoil_trials(trials: pd.DataFrame, log: Log, rng: np.random.Generator, own: np.random.Generator) -> pd.DataFrame:
    """Dropped flips, and trials that the experimenter threw out."""
    trials = trials.drop(columns="image_index")
    n_trials = len(trials)
    n_each = max(1, round(0.003 * n_trials))
    dropped = {"flip_onset_s": rng.choice(n_trials, n_each, replace=False)}
    thrown_out = rng.choice(n_trials, n_each, replace=False)
    dropped["flip_blank_s"] = own.choice(n_trials, max(1, round(0.001 * n_trials)), replace=False)
    dropped["flip_end_s"] = own.choice(n_trials, max(1, round(0.0005 * n_trials)), replace=False)
    for flip, lost in dropped.items():
        trials.loc[lost, flip] = np.nan
        log.of_trials(lost, f"{flip.split('_')[1]} flip dropped")
    trials.loc[thrown_out, "excluded"] = True
    trials.loc[thrown_out, "exclusion_comment"] = "monitor flicker"
    log.of_trials(thrown_out, "excluded: monitor flicker")
    return trials


def _mistake_for_soma(recording: Recording, own: np.random.Generator) -> tuple[pd.DataFrame, int]:
    """Units of which one mask that is no cell counts as a soma, in a field of its own; and its row."""
    units = recording.units.copy()
    dead = int(own.integers(len(recording.cells), len(units)))
    units.loc[dead, "mask_type"] = "soma"
    units.loc[dead, "field"] = COARSE_FIELD
    units.loc[dead, "um_z"] = COARSE_Z_UM
    units.loc[dead, "ms_delay"] = delay_ms(COARSE_DEPTH, units.um_y[dead])
    units.loc[dead, ["px_x", "px_y"]] = units.loc[dead, ["px_x", "px_y"]] // 2
    return units, dead


def _lose_frames(
    traces: np.ndarray, units: pd.DataFrame, volumes_s: np.ndarray, log: Log, own: np.random.Generator
) -> None:
    """NaN in every trace of one field, one or two volumes long, about once in seven minutes (changes `traces`)."""
    n_volumes = traces.shape[1]
    for bad in own.choice(n_volumes - 1, max(2, round(3e-4 * n_volumes)), replace=False):
        field = own.choice(units.field[units.field != COARSE_FIELD])
        stop = bad + own.integers(1, 3)
        traces[units.field == field, bad:stop] = np.nan
        log.of_times(volumes_s[bad:stop], f"bad frame of field {field}")


def _film_eye(
    states: States, scan_s: tuple[float, float], log: Log, rng: np.random.Generator, own: np.random.Generator
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """eye.csv, and when the camera ran."""
    time_s, n_frames = states.time_s, len(states.time_s)
    tracked = np.ones(n_frames, bool)
    for blink in np.flatnonzero(rng.random(n_frames) < 1 / 1200):  # about one a minute, 50-400 ms
        tracked[blink : blink + rng.integers(1, 9)] = False
    lost = rng.integers(n_frames - 200)
    tracked[lost : lost + 200] = False  # the pupil is out of sight for 10 s
    log.of_times(time_s[~tracked], "pupil not tracked")

    jump_px = np.linalg.norm(np.diff(states.center_px, axis=0, prepend=states.center_px[:1]), axis=1)
    blurred = jump_px > SACCADE_PX
    error_px = np.where(blurred[:, None], own.normal(0, [0.5, 1.0, 1.0], (n_frames, 3)), 0)

    eye = pd.DataFrame({"time_s": behavior_clock(time_s), "radius_px": states.radius_px + error_px[:, 0]})
    eye["center_x_px"], eye["center_y_px"] = (states.center_px + error_px[:, 1:]).T
    eye.loc[~tracked, ["radius_px", "center_x_px", "center_y_px"]] = np.nan
    running = _late_and_early(time_s, scan_s, own)
    unstamped = _runs(running, 2500, 10, own)
    eye.loc[unstamped, "time_s"] = np.nan
    log.of_times(time_s[unstamped], "eye time stamp lost")
    skipped = _runs(running, 2000, 3, own)
    log.of_times(time_s[skipped], "video frame dropped")
    return eye[running & ~skipped], _log_running("camera off", time_s[running], log)


def _read_treadmill(
    states: States, scan_s: tuple[float, float], log: Log, rng: np.random.Generator, own: np.random.Generator
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """treadmill.csv, and when the treadmill was read."""
    time_s = states.time_s
    treadmill = pd.DataFrame({"time_s": behavior_clock(time_s), "velocity_cm_s": states.velocity_cm_s})
    running = _late_and_early(time_s, scan_s, own)
    mistimed = _runs(running, 12000, 30, own)  # packets of up to 1.5 s, every ten minutes
    silent = _runs(running, 12000, 10, own)
    missing = (rng.random(len(time_s)) < 2e-5) | mistimed | silent
    treadmill.loc[missing, "velocity_cm_s"] = np.nan
    treadmill.loc[mistimed, "time_s"] = np.nan
    log.of_times(time_s[missing], "treadmill missing")
    return treadmill[running], _log_running("treadmill off", time_s[running], log)


def _late_and_early(time_s: np.ndarray, scan_s: tuple[float, float], own: np.random.Generator) -> np.ndarray:
    """(sample,) whether a device runs that starts after the scan and stops before it, 2 to 5 s each."""
    start_s, stop_s = scan_s[0] + own.uniform(2, 5), scan_s[1] - own.uniform(2, 5)
    return (time_s >= start_s) & (time_s <= stop_s)


def _log_running(words: str, time_s: np.ndarray, log: Log) -> tuple[float, float]:
    start_s, stop_s = float(time_s[0]), float(time_s[-1])
    log.of_outside(start_s, stop_s, words)
    return start_s, stop_s


def _runs(running: np.ndarray, samples_apart: int, longest: int, own: np.random.Generator) -> np.ndarray:
    """(sample,) bool: at least one run of 1 to `longest` samples, on average every `samples_apart`, while it runs."""
    inside = np.flatnonzero(running)[1 : -longest - 1]
    missing = np.zeros(len(running), bool)
    for start in own.choice(inside, max(1, round(len(running) / samples_apart)), replace=False):
        missing[start : start + own.integers(1, longest + 1)] = True
    return missing
