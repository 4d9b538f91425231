"""The raw export of one scan: its files, the columns of its tables, and what is allowed in them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostatic.data.registration import AFFINE_COLUMNS, OFFSET_COLUMNS
from neurostatic.data.scans.survey import Survey

STIM_TYPES = ("imagenet", "mei", "gabor", "natural", "noise")
STIMULUS_TYPES = (
    "stimulus.Frame",
    "stimulus.MonetFrame",
    "stimulus.TrippyFrame",
    "stimulus.ColorFrameProjector",
    "stimulus.Frame2",
)
IMAGE_DIMS = (("image", "y", "x"), ("image", "y", "x", "channel"))
SOMA = "soma"
MASK_TYPES = (SOMA, "axon", "dendrite", "neuropil", "artifact", "unknown")
FLIPS = ["flip_blank_s", "flip_onset_s", "flip_end_s"]


@dataclass(frozen=True)
class Column:
    """What a column of a table holds.

    Attributes:
        kind: 'int', 'float', 'text', 'time' (a text by ISO 8601) or 'bool' (true, false, 1, 0).
        empty: fields may be empty (or nan).
        low, high: least and largest value.
        choices: allowed values; any if empty.
        needed: the table must have the column.
    """

    kind: str
    empty: bool = False
    low: float = -np.inf
    high: float = np.inf
    choices: tuple[str, ...] = ()
    needed: bool = True


UNITS = {
    "unit_id": Column("int", low=0),
    "field": Column("int"),
    "mask_type": Column("text", choices=MASK_TYPES),
    "ms_delay": Column("float", low=0),
    "px_x": Column("float"),
    "px_y": Column("float"),
    "um_x": Column("float"),
    "um_y": Column("float"),
    "um_z": Column("float"),
    "brain_area": Column("text", empty=True, needed=False),
    "layer": Column("text", empty=True, needed=False),
}
FIELDS = {
    "field": Column("int"),
    "z_um": Column("float"),
    "px_height": Column("int", low=1),
    "px_width": Column("int", low=1),
    "um_height": Column("float", low=1e-6),
    "um_width": Column("float", low=1e-6),
}
TRIALS = {
    "trial_idx": Column("int", low=0),
    "condition_hash": Column("text"),
    "stimulus_type": Column("text", choices=STIMULUS_TYPES),
    "image_class": Column("text"),
    "image_id": Column("int", low=0),
    "excluded": Column("bool"),
    "exclusion_comment": Column("text", empty=True),
}
TRIALS_TRACES = TRIALS | {name: Column("float", empty=True) for name in FLIPS}
IMAGES = {
    "image_class": Column("text"),
    "image_id": Column("int", low=0),
    # stimulus.Frame2: a soft round window, in units of the image's width, on a gray background; empty: none
    "aperture_r": Column("float", empty=True, low=0, needed=False),
    "aperture_transition": Column("float", empty=True, low=0, needed=False),
    "aperture_x": Column("float", empty=True, needed=False),
    "aperture_y": Column("float", empty=True, needed=False),
    "background_px": Column("float", empty=True, low=0, high=255, needed=False),
}
APERTURE = tuple(IMAGES)[2:]
EYE = {
    "time_s": Column("float", empty=True),
    "radius_px": Column("float", empty=True, low=0),
    "center_x_px": Column("float", empty=True),
    "center_y_px": Column("float", empty=True),
}
TREADMILL = {"time_s": Column("float", empty=True), "velocity_cm_s": Column("float", empty=True)}
BEHAVIOR = {
    "pupil_radius": Column("float", empty=True, low=0),
    "dpupil": Column("float", empty=True),
    "treadmill": Column("float", empty=True),
    "pupil_x": Column("float", empty=True),
    "pupil_y": Column("float", empty=True),
}
STACK_COORDINATES = {
    "stack": Column("text"),
    "unit_id": Column("int", low=0),
    "x_um": Column("float", empty=True),
    "y_um": Column("float", empty=True),
    "z_um": Column("float", empty=True),
}
FIELD_REGISTRATIONS = {
    "stack": Column("text"),
    "field": Column("int"),
    **{name: Column("float") for name in (*AFFINE_COLUMNS, *OFFSET_COLUMNS)},
}
STRUCTURE_MATCHES = {
    "stack": Column("text"),
    "unit_id": Column("int", low=0),
    "sunit_id": Column("int", low=0),
    "iou": Column("float", low=0, high=1),
    "distance_um": Column("float", low=0),
}
MONITOR_CALIBRATION = {
    "timestamp": Column("time"),
    "pixel_value": Column("float", low=0, high=255),
    "luminance_cd_m2": Column("float", low=0),
    "rig": Column("text", needed=False),  # if the table is of several monitors
}


@dataclass(frozen=True)
class Scan:
    """One raw scan export in memory (StaticScan; StaticScan.Unit are the rows of `units` with mask_type 'soma').

    Arrays are memory-mapped. A row of `traces` is a row of `units`, a row of `responses` and `behavior` a row of
    `trials`, an image of `images` a row of `image_table`.

    Attributes:
        name: name of the folder.
        folder: where the export is.
        info: scan.yaml: animal_id, session, scan_idx, stim_type, timestamp (ISO 8601 text), and loop_group, day,
            mei_source (None for a scan outside a loop), rig (None if not given).
        form: 'traces' or 'responses'.
        units: all units, with the columns UNITS; brain_area and layer only where the file has them.
        fields: imaging fields, with the columns FIELDS.
        trials: all trials, excluded ones too (ExcludedTrial), with the columns TRIALS and, in the traces form, FLIPS.
        images: (image, y, x) or, in color, (image, y, x, channel) uint8 px.
        image_table: image_class and image_id of each image, and where the file has them the columns APERTURE.
        area_labels: per field (px_height, px_width) label map or None; 0 = no area, k = k-th of `area_names`.
        area_names: names of the labels.
        traces: (unit, volume) deconvolved; None in the responses form, as the next four.
        frame_times_stim, frame_times_behavior: (slice,) s on the stimulus and on the behavior clock.
        eye: time_s, radius_px, center_x_px, center_y_px.
        treadmill: time_s, velocity_cm_s.
        responses: (trial, unit); None in the traces form, as the next.
        behavior: pupil_radius, dpupil, treadmill, pupil_x, pupil_y.
        field_registrations: stack, field, a11, a21, a31, a12, a22, a32 (um per um), reg_x_um, reg_y_um, reg_z_um, or
            None.
        stack_coordinates: stack, unit_id, x_um, y_um, z_um, as given or computed from `field_registrations`; or None.
        structure_matches: stack, unit_id, sunit_id (cell of the structural stack), iou, distance_um (of the unit to the
            center of that cell), or None (Func2StructMatching).
        monitor_calibration: timestamp, pixel_value, luminance_cd_m2, and rig where the file has it; or None.
        survey: of `traces` or `responses`.
    """

    name: str
    folder: Path
    info: dict[str, Any]
    form: str
    units: pd.DataFrame
    fields: pd.DataFrame
    trials: pd.DataFrame
    images: np.ndarray
    image_table: pd.DataFrame
    area_labels: dict[int, np.ndarray | None]
    area_names: tuple[str, ...]
    traces: np.ndarray | None
    frame_times_stim: np.ndarray | None
    frame_times_behavior: np.ndarray | None
    eye: pd.DataFrame | None
    treadmill: pd.DataFrame | None
    responses: np.ndarray | None
    behavior: pd.DataFrame | None
    field_registrations: pd.DataFrame | None
    stack_coordinates: pd.DataFrame | None
    structure_matches: pd.DataFrame | None
    monitor_calibration: pd.DataFrame | None
    survey: Survey

    def delay_s(self) -> np.ndarray:
        """(unit,) delay of each unit after the start of the volume, in s."""
        return self.units.ms_delay.to_numpy() / 1000

    def flips_s(self) -> np.ndarray:
        """(trial, 3) blank, onset and end flip on the stimulus clock, NaN where dropped (traces form)."""
        return self.trials[FLIPS].to_numpy()
