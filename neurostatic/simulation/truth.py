"""The truth of one scan of the virtual mouse, for the truth store."""

import numpy as np
import torch
import xarray as xr

from neurostatic.config import Simulation
from neurostatic.simulation.blemishes import CLOCK_DRIFT, CLOCK_JITTER_S, CLOCK_OFFSET_S, Experiment
from neurostatic.simulation.cortex import GREY_PX, HEIGHT_PX, WIDTH_PX, Cortex, true_meis
from neurostatic.simulation.recording import AMPLITUDE_SHAPE, SPONTANEOUS, Recording
from neurostatic.simulation.stacks import AXES
from neurostatic.store import plain_column

EVENTS = "events per presentation"
DESCRIPTIONS = {  # variable: units, long name
    "trial_idx": ("1", "trial, as in trials.csv"),
    "unit_id": ("1", "mask of the cell on this day, as in units.csv"),
    "stack": ("", "structural stack, as in stack_coordinates.csv"),
    "axis": ("", "axis of the stack"),
    "rate": (EVENTS, "noiseless expected events: events * gain * evoked, without the spontaneous ones"),
    "gain": ("1", "factor of the rate by pupil and running"),
    "ceiling": ("1", "expected correlation of the rate with the summed size of the events of single presentations"),
    "blemish": ("", "what went wrong within reach of the trial's response; empty where nothing did"),
    "cell_id": ("1", "the cell, the same on every day: masks of two days match where it is equal"),
    "kind": ("", "kind of cell"),
    "x_um": ("um", "true position"),
    "y_um": ("um", "true position"),
    "z_um": ("um", "true depth"),
    "brain_area": ("", "area of the true position"),
    "layer": ("", "layer of the true depth"),
    "rf_x_px": ("px", "center of the receptive field in the 36 x 64 image"),
    "rf_y_px": ("px", "center of the receptive field in the 36 x 64 image"),
    "orientation_deg": ("deg", "preferred orientation"),
    "wavelength_px": ("px", "preferred wavelength"),
    "phase_deg": ("deg", "preferred phase"),
    "events": (EVENTS, "mean evoked events over natural images at neutral gain"),
    "pupil_gain": ("1", "change of the log gain with the standardized pupil radius"),
    "running_gain": ("1", "change of the log gain with the standardized speed"),
    "surround_weight": ("1", "weight of the divisive surround"),
    "evoked_scale": ("1", "evoked drive averaged over natural images, by which the evoked response is divided"),
    "stack_field_error_um": ("um", "error of the registration of the whole field of view"),
    "stack_cell_error_um": ("um", "error of the registration of the cell, beside that of the field of view"),
    "outside_stack": ("1", "the cell has no place in the stack"),
    "true_mei": ("px", "image of mean 128 px and contrast mei_contrast_px that excites the cell most"),
    "true_mei_evoked": ("1", "evoked response to the true MEI; natural images evoke 1 on average"),
    "gray_evoked": ("1", "evoked response to gray of 128 px"),
}


def scan_truth(cortex: Cortex, recording: Recording, experiment: Experiment, config: Simulation) -> xr.Dataset:
    """All that is known of a scan, with unit and meaning of each variable (`DESCRIPTIONS`).

    Dims unit (the cells that are seen, ordered by unit_id; a soma that is no cell has no row), trial, stack, axis, and
    y, x for the scan that MEIs will be made from (`true_mei` and the evoked response to it and to gray). Constants of
    the clocks, of the noise, and when scan, camera and treadmill ran (stimulus clock) are attributes.
    """
    cells, registration = recording.cells, experiment.registration
    truth = xr.Dataset(
        {
            "rate": (("trial", "unit"), recording.rate.astype(np.float32)),
            "gain": (("trial", "unit"), recording.gain.astype(np.float32)),
            "ceiling": ("unit", ceiling(recording.rate, SPONTANEOUS * cells.events.to_numpy())),
            "blemish": ("trial", experiment.blemish),
            "stack_field_error_um": (("stack", "axis"), registration.field_error_um),
            "stack_cell_error_um": (("stack", "unit", "axis"), registration.cell_error_um),
            "outside_stack": (("stack", "unit"), registration.outside),
            "evoked_scale": ("unit", cortex.evoked_scale[recording.visible].numpy()),
        },
        {
            "trial_idx": ("trial", recording.trials.trial_idx.to_numpy()),
            "unit_id": ("unit", recording.units.unit_id.to_numpy()[: len(cells)]),
            "stack": registration.table["stack"].unique().astype(str),
            "axis": list(AXES),
        },
        {
            "clock_offset_s": CLOCK_OFFSET_S,
            "clock_drift": CLOCK_DRIFT,
            "clock_jitter_s": CLOCK_JITTER_S,
            "spontaneous_fraction": SPONTANEOUS,
            "event_size_shape": AMPLITUDE_SHAPE,
            "dead_unit_id": experiment.dead_unit_id,
            **{f"{name}_recorded_s": list(map(float, times_s)) for name, times_s in experiment.recorded_s.items()},
        },
    )
    truth = truth.assign({name: ("unit", plain_column(cells[name])) for name in cells})
    if recording.session.mei_source:
        seen = cortex.take(recording.visible)
        images, evoked = true_meis(seen, config.mei_contrast_px, config.seed)
        with torch.no_grad():
            gray = seen.evoked(torch.full((1, HEIGHT_PX, WIDTH_PX), GREY_PX))[0]
        truth["true_mei"] = (("unit", "y", "x"), images.numpy())
        truth["true_mei_evoked"] = ("unit", evoked.numpy())
        truth["gray_evoked"] = ("unit", gray.numpy())
        truth.attrs["mei_contrast_px"] = config.mei_contrast_px
    for name in truth.variables:
        truth[name].attrs["units"], truth[name].attrs["long_name"] = DESCRIPTIONS[str(name)]
    return truth


def ceiling(rate: np.ndarray, spontaneous: np.ndarray, shape: float = AMPLITUDE_SHAPE) -> np.ndarray:
    """True ceiling: expected correlation of the noiseless rate with the summed size of the events of a presentation.

    The sum m of n ~ Poisson(rate + spontaneous) sizes ~ Gamma(shape, mean 1) has mean rate + spontaneous and variance
    (1 + 1/shape) (rate + spontaneous), so that over trials t

        corr(rate, m) = sqrt(V / (V + (1 + 1/shape) mean_t(rate + spontaneous))),  V = Var_t(rate).

    No model of single presentations does better on average. Responses that a filter takes from the trace also weigh
    the events around the presentation: their correlation with the rate stays a little below, on average over units.

    Args:
        rate: (trial, unit) expected evoked events in one presentation.
        spontaneous: (unit,) expected spontaneous events in it.
        shape: of the gamma distribution of an event's size.

    Returns:
        (unit,) correlations; 0 for a constant rate.
    """
    signal = rate.var(0)
    noise = (1 + 1 / shape) * (rate.mean(0) + spontaneous)
    return np.sqrt(signal / (signal + noise))
