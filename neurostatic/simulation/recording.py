"""A recording of the virtual mouse: what is shown, what its cells do, and the events on the scan clock."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from neurostatic.config import Simulation
from neurostatic.simulation.cortex import DEPTHS_UM, EXTENT_UM, GREY_PX, Cortex, at_cell_resolution
from neurostatic.simulation.states import States, wander_states

VOLUME_S = 0.122  # about 8 volumes a second, and no whole number of volumes in the 0.5 s window
SCAN_START_S = 2.5  # the stimulus starts before the scan: the first trial is lost
IMAGE_S = 0.5
LATENCY_S = 0.05
LONG_BLANK_S = 0.4  # blanks are a parameter of the stimulus: repeats of one image differ in their condition_hash
SPONTANEOUS = 0.1  # spontaneous events, as a fraction of the mean evoked ones
AMPLITUDE_SHAPE = 3.0  # of the gamma distribution of an event's size
FIELD_PX = (240, 260)  # height, width: pixels are not square


@dataclass(frozen=True)
class Session:
    """What is shown on one day.

    Attributes:
        day: from 1; stim_type, mei_source: as in scan.yaml.
        images_px: (image, y, x) uint8; image_table: image_class, image_id of each.
        shown: index of the image of each trial; the order is drawn when it is recorded.
        animal_id: as in scan.yaml, and its loop_group.
    """

    day: int
    stim_type: str
    mei_source: int
    images_px: np.ndarray
    image_table: pd.DataFrame
    shown: np.ndarray
    animal_id: int = 1


@dataclass(frozen=True)
class Recording:
    """What the microscope, the eye camera and the treadmill would have seen, had nothing gone wrong.

    Attributes:
        units: columns of units.csv; somata come first. trials: columns of trials.csv.
        visible: (soma,) the cells that are seen, in the order of the somata; cells: their rows of the cortex's cells.
        rate: (trial, soma) noiseless expected events in one presentation; gain: (trial, soma) part of it.
        traces: (unit, volume) events; slices_s: (slice,) s on the stimulus clock.
    """

    session: Session
    units: pd.DataFrame
    trials: pd.DataFrame
    visible: np.ndarray
    cells: pd.DataFrame
    rate: np.ndarray
    gain: np.ndarray
    traces: np.ndarray
    slices_s: np.ndarray
    states: States


def record(cortex: Cortex, session: Session, config: Simulation, rng: np.random.Generator) -> Recording:
    """Show a session to the virtual mouse: rate = events * gain(pupil, running) * evoked(image moved by the gaze)."""
    visible = np.flatnonzero(rng.random(len(cortex.cells)) >= config.lost_fraction)
    rng.shuffle(visible)
    cells = cortex.cells.iloc[visible].reset_index(drop=True)
    trials = _schedule(session, rng)
    states = wander_states(trials.flip_end_s.iloc[-1] + 3.0, rng)
    units = _units(cells, rng)

    state = states.at(trials.flip_onset_s.to_numpy() + IMAGE_S / 2)
    with torch.no_grad():
        retinal = _retinal_images(session.images_px, trials.image_index.to_numpy(), state["gaze_px"])
        evoked = cortex.evoked(torch.from_numpy(retinal)).numpy()[:, visible]  # (trial, unit)
    gain = np.exp(
        state["pupil"][:, None] * cells.pupil_gain.to_numpy()
        + (state["running"][:, None] - 1) * cells.running_gain.to_numpy()
    )
    rate = cells.events.to_numpy() * gain * evoked  # expected events in one presentation

    n_volumes = int((states.time_s[-1] - SCAN_START_S - 0.5) / VOLUME_S)
    slice_s = VOLUME_S / len(DEPTHS_UM)
    slices_s = SCAN_START_S + slice_s * np.arange(n_volumes * len(DEPTHS_UM))
    slices_s += rng.normal(0, 1e-4, len(slices_s))
    volumes_s = slices_s[:: len(DEPTHS_UM)]
    delays_s = units.ms_delay.to_numpy() / 1000
    traces = rng.gamma(0.05, 1.0, (len(units), n_volumes)).astype(np.float32)  # what masks that are no somata see
    for soma, (events, delay_s) in enumerate(zip(cells.events, delays_s[: len(cells)], strict=True)):
        expected = _expected_events(rate[:, soma], SPONTANEOUS * events, trials, volumes_s + delay_s)
        traces[soma] = draw_events(expected, rng)
    return Recording(session, units, trials, visible, cells, rate, gain, traces, slices_s, states)


def draw_events(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Summed size of the events at expected numbers of them: Poisson many, each of a gamma size of mean 1.

    n ~ Poisson(expected), sum of n sizes ~ Gamma(shape n) / shape; its mean is `expected`, its variance
    expected (1 + 1/shape). The sum over several bins has the same law, with the sum of their expected numbers.

    Args:
        expected: (...) expected numbers of events.

    Returns:
        (...) summed sizes, 0 where there is no event.
    """
    n_events = rng.poisson(expected)
    sizes = rng.gamma(AMPLITUDE_SHAPE * np.maximum(n_events, 1)) / AMPLITUDE_SHAPE
    return np.where(n_events > 0, sizes, 0)


def delay_ms(depth: np.ndarray | int, y_um: np.ndarray) -> np.ndarray:
    """Delay (ms) after the start of the volume at which the line at `y_um` of the depth-th plane is scanned."""
    return np.rint(1000 * VOLUME_S / len(DEPTHS_UM) * (depth + 0.95 * y_um / EXTENT_UM))


def _expected_events(rate: np.ndarray, spontaneous: float, trials: pd.DataFrame, times_s: np.ndarray) -> np.ndarray:
    """(volume,) expected events in the volume around each time: evoked ones spread evenly over the presentation."""
    start_s = trials.flip_onset_s.to_numpy() + LATENCY_S
    knots_s = np.stack([start_s, start_s + IMAGE_S], 1).ravel()
    evoked = np.cumsum(np.stack([np.zeros_like(rate), rate], 1).ravel())  # cumulative, at the knots
    edges_s = np.append(times_s, times_s[-1] + VOLUME_S) - VOLUME_S / 2
    cumulative = np.interp(edges_s, knots_s, evoked) + spontaneous * edges_s / IMAGE_S
    return np.diff(cumulative)


def _schedule(session: Session, rng: np.random.Generator) -> pd.DataFrame:
    """One row a trial: a gray blank of 0.3-0.5 s, then the image for 0.5 s."""
    shown = rng.permutation(session.shown)
    blank_s = rng.uniform(0.3, 0.5, len(shown))
    start_s = 2.0 + np.cumsum(blank_s + IMAGE_S) - (blank_s + IMAGE_S)
    trials = session.image_table.iloc[shown].reset_index(drop=True)
    trials.insert(0, "trial_idx", np.arange(len(shown)))
    blank = np.where(blank_s < LONG_BLANK_S, "short", "long")
    trials.insert(1, "condition_hash", trials.image_class + "_" + trials.image_id.astype(str) + "_" + blank)
    trials.insert(2, "stimulus_type", "stimulus.Frame")
    trials["excluded"] = False
    trials["exclusion_comment"] = ""
    trials["flip_blank_s"] = start_s
    trials["flip_onset_s"] = start_s + blank_s
    trials["flip_end_s"] = start_s + blank_s + IMAGE_S
    trials["image_index"] = shown
    return trials


def _units(cells: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Segmented masks of the day: the visible cells with ids of the day, then masks that are no somata."""
    n_other = max(2, len(cells) // 12)
    others_um = np.column_stack([rng.uniform(5, EXTENT_UM - 5, (n_other, 2)), rng.choice(DEPTHS_UM, n_other)])
    positions_um = np.concatenate([cells[["x_um", "y_um", "z_um"]].to_numpy(), others_um])
    n_units = len(positions_um)
    found_um = positions_um + np.append(rng.normal(0, 2.0, 2), 0)  # the field of view is found again to a few um
    found_um[:, :2] = found_um[:, :2].clip(1, EXTENT_UM - 1)
    depth = np.searchsorted(DEPTHS_UM, positions_um[:, 2])
    return pd.DataFrame(
        {
            "unit_id": np.sort(rng.choice(np.arange(1, 4 * n_units), n_units, replace=False)),
            "field": depth + 1,
            "mask_type": ["soma"] * len(cells)
            + list(rng.choice(["axon", "dendrite", "neuropil", "artifact"], n_other)),
            "ms_delay": delay_ms(depth, found_um[:, 1]),
            "px_x": np.floor(found_um[:, 0] / EXTENT_UM * FIELD_PX[1]),
            "px_y": np.floor(found_um[:, 1] / EXTENT_UM * FIELD_PX[0]),
            "um_x": found_um[:, 0],
            "um_y": found_um[:, 1],
            "um_z": found_um[:, 2],
        }
    )


def _retinal_images(images_px: np.ndarray, shown: np.ndarray, gaze_px: np.ndarray) -> np.ndarray:
    """(trial, 36, 64): each trial's image at the cells' resolution, moved by the gaze."""
    small = at_cell_resolution(images_px).astype(np.float32)
    moved = [
        ndimage.shift(small[image], (-gaze[1], -gaze[0]), order=1, mode="constant", cval=GREY_PX)
        for image, gaze in zip(shown, gaze_px, strict=True)
    ]
    return np.stack(moved)
