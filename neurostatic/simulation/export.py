"""The raw export (traces form) of a recording of the virtual mouse, with all that goes wrong in an experiment."""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from neurostatic.config import Simulation
from neurostatic.simulation.cortex import DEPTHS_UM, EXTENT_UM
from neurostatic.simulation.recording import FIELD_PX, Recording

ANIMAL_ID = 1
AREA_NAMES = ("V1", "LM")
CLOCK_DRIFT = 2e-5  # of the behavior clock against the stimulus clock
CLOCK_OFFSET_S = 37.2


def write_export(recording: Recording, config: Simulation, folder: Path, rng: np.random.Generator) -> None:
    """Write the raw scan export of a recording into a folder (design contract, traces form).

    Some flips are dropped and some trials thrown out; the behavior clock is offset, drifts and jitters; blinks and a
    lost pupil leave NaN; each stack registration has an error of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    session = recording.session
    info = {
        "animal_id": ANIMAL_ID,
        "session": session.day,
        "scan_idx": session.scan_idx,
        "stim_type": session.stim_type,
        "loop_group": 1,
        "day": session.day,
        "mei_source": session.mei_source,
        "timestamp": f"2026-01-{session.day:02d}T10:30:00",
    }
    (folder / "scan.yaml").write_text(yaml.safe_dump(info, sort_keys=False))
    recording.units.round(3).to_csv(folder / "units.csv", index=False)
    np.save(folder / "traces.npy", recording.traces)
    np.save(folder / "images.npy", session.images_px)
    session.image_table.to_csv(folder / "images.csv", index=False)
    _blemish(recording.trials, rng).to_csv(folder / "trials.csv", index=False)
    _write_fields(folder)
    _write_clocks(recording, folder, rng)
    _write_stacks(recording, config, folder, rng)
    _write_calibrations(folder)


def _blemish(trials: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Dropped flips, and trials that the experimenter threw out."""
    trials = trials.drop(columns="image_index")
    n_each = max(1, round(0.003 * len(trials)))
    trials.loc[rng.choice(len(trials), n_each, replace=False), "flip_onset_s"] = np.nan
    thrown_out = rng.choice(len(trials), n_each, replace=False)
    trials.loc[thrown_out, "excluded"] = True
    trials.loc[thrown_out, "exclusion_comment"] = "monitor flicker"
    return trials.round(6)


def _write_fields(folder: Path) -> None:
    """One imaging field a depth; V1 and LM side by side, with a strip between them that belongs to neither."""
    fields = pd.DataFrame({"field": np.arange(len(DEPTHS_UM)) + 1, "z_um": DEPTHS_UM})
    fields["px_height"], fields["px_width"] = FIELD_PX
    fields["um_height"] = fields["um_width"] = EXTENT_UM
    fields.to_csv(folder / "fields.csv", index=False)
    labels = np.zeros(FIELD_PX, np.uint8)
    labels[:, : int(0.75 * FIELD_PX[1])] = 1
    labels[:, int(0.79 * FIELD_PX[1]) :] = 2
    np.savez_compressed(
        folder / "area_masks.npz", area_names=np.array(AREA_NAMES), **{f"field_{f}": labels for f in fields.field}
    )


def _write_clocks(recording: Recording, folder: Path, rng: np.random.Generator) -> None:
    """Slice times on both clocks; eye and treadmill on the behavior clock."""

    def behavior_clock(times_s):
        return CLOCK_OFFSET_S + times_s * (1 + CLOCK_DRIFT)

    slices_s = recording.slices_s
    np.save(folder / "frame_times_stim.npy", slices_s)
    np.save(folder / "frame_times_behavior.npy", behavior_clock(slices_s) + rng.normal(0, 1e-4, len(slices_s)))
    states = recording.states
    time_s = behavior_clock(states.time_s)
    tracked = np.ones(len(time_s), bool)
    for blink in np.flatnonzero(rng.random(len(time_s)) < 1 / 1200):  # about one a minute, 50-400 ms
        tracked[blink : blink + rng.integers(1, 9)] = False
    lost = rng.integers(len(time_s) - 200)
    tracked[lost : lost + 200] = False  # the pupil is out of sight for 10 s
    eye = pd.DataFrame({"time_s": time_s, "radius_px": states.radius_px})
    eye["center_x_px"], eye["center_y_px"] = states.center_px.T
    eye.loc[~tracked, ["radius_px", "center_x_px", "center_y_px"]] = np.nan
    eye.round(4).to_csv(folder / "eye.csv", index=False)
    treadmill = pd.DataFrame({"time_s": time_s, "velocity_cm_s": states.velocity_cm_s})
    treadmill.loc[rng.random(len(time_s)) < 2e-5, "velocity_cm_s"] = np.nan
    treadmill.round(4).to_csv(folder / "treadmill.csv", index=False)


def _write_stacks(recording: Recording, config: Simulation, folder: Path, rng: np.random.Generator) -> None:
    """Where each registration puts each soma: true position + an error of the whole field + one of the cell."""
    true_um = recording.cells[["x_um", "y_um", "z_um"]].to_numpy()
    tables = []
    for stack in range(1, config.n_stacks + 1):
        field_error_um = rng.normal(0, config.stack_error_um, 3)
        cell_error_um = rng.normal(0, config.stack_error_um, true_um.shape)
        placed_um = (true_um + field_error_um + cell_error_um).round(3)
        table = pd.DataFrame(placed_um, columns=["x_um", "y_um", "z_um"])
        table.insert(0, "stack", f"stack-{stack}")
        table.insert(1, "unit_id", recording.units.unit_id.to_numpy()[: len(true_um)])
        tables.append(table)
    pd.concat(tables).to_csv(folder / "stack_coordinates.csv", index=False)


def _write_calibrations(folder: Path) -> None:
    """Two measurements of the monitor: L = A px^2.1 + 0.35 cd/m^2, a little dimmer in the later one."""
    pixel_value = np.arange(0, 256, 15)
    tables = []
    for timestamp, amplitude in (("2026-01-01T09:00:00", 2.6e-4), ("2026-01-20T09:00:00", 2.5e-4)):
        luminance = (amplitude * pixel_value**2.1 + 0.35).round(5)
        tables.append(pd.DataFrame({"timestamp": timestamp, "pixel_value": pixel_value, "luminance_cd_m2": luminance}))
    pd.concat(tables).to_csv(folder / "monitor_calibration.csv", index=False)
