"""The raw export of the virtual mouse's experiment: the files of the contract, in the traces form."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from neurostatic.simulation.blemishes import COARSE_FIELD, COARSE_Z_UM, Experiment
from neurostatic.simulation.cortex import AREA_NAMES, DEPTHS_UM, EXTENT_UM, LM_START, MONITOR_GAMMA, V1_END
from neurostatic.simulation.recording import FIELD_PX

FIRST_DAY = datetime(2026, 1, 1, 10, 30)


def write_export(experiment: Experiment, folder: Path) -> None:
    """Write the raw scan export of an experiment into a folder (docs/exports.md, traces form)."""
    folder.mkdir(parents=True, exist_ok=True)
    session = experiment.session
    info = {
        "animal_id": session.animal_id,
        "session": session.day,
        "scan_idx": 1,
        "stim_type": session.stim_type,
        "loop_group": session.animal_id,
        "day": session.day,
        "mei_source": session.mei_source,
        "timestamp": (FIRST_DAY + timedelta(days=session.day - 1)).isoformat(),
    }
    (folder / "scan.yaml").write_text(yaml.safe_dump(info, sort_keys=False))
    np.save(folder / "traces.npy", experiment.traces)
    np.save(folder / "images.npy", session.images_px)
    np.save(folder / "frame_times_stim.npy", experiment.slices_stim_s)
    np.save(folder / "frame_times_behavior.npy", experiment.slices_behavior_s)
    for name, table, decimals in (
        ("units.csv", experiment.units, 3),
        ("trials.csv", experiment.trials, 6),
        ("images.csv", session.image_table, 0),
        ("eye.csv", experiment.eye, 4),
        ("treadmill.csv", experiment.treadmill, 4),
        ("stack_coordinates.csv", experiment.registration.table, 3),
    ):
        table.round(decimals).to_csv(folder / name, index=False)
    _write_fields(folder)
    _write_calibrations(folder)


def _write_fields(folder: Path) -> None:
    """One field a depth and one more at coarse resolution; V1 and LM side by side with a strip of neither between."""
    fields = pd.DataFrame({"field": np.arange(len(DEPTHS_UM)) + 1, "z_um": DEPTHS_UM})
    fields.loc[len(fields)] = [COARSE_FIELD, COARSE_Z_UM]
    fields = fields.astype({"field": int})
    coarser = np.where(fields.field == COARSE_FIELD, 2, 1)
    fields["px_height"], fields["px_width"] = (size_px // coarser for size_px in FIELD_PX)
    fields["um_height"] = fields["um_width"] = EXTENT_UM
    fields.to_csv(folder / "fields.csv", index=False)
    labels: dict[str, Any] = {}
    for field in fields.itertuples():
        label = np.zeros((field.px_height, field.px_width), np.uint8)
        label[:, : int(V1_END * field.px_width)] = 1
        label[:, int(LM_START * field.px_width) :] = 2
        labels[f"field_{field.field}"] = label
    np.savez_compressed(folder / "area_masks.npz", area_names=np.array(AREA_NAMES), **labels)


def _write_calibrations(folder: Path) -> None:
    """Two measurements of the monitor: L = A px^gamma + 0.35 cd/m^2, a little dimmer in the later one."""
    pixel_value = np.arange(0, 256, 15)
    tables = []
    for timestamp, amplitude in (("2026-01-01T09:00:00", 2.6e-4), ("2026-01-20T09:00:00", 2.5e-4)):
        luminance = (amplitude * pixel_value**MONITOR_GAMMA + 0.35).round(5)
        tables.append(pd.DataFrame({"timestamp": timestamp, "pixel_value": pixel_value, "luminance_cd_m2": luminance}))
    pd.concat(tables).to_csv(folder / "monitor_calibration.csv", index=False)
