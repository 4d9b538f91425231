"""What was found, compared with the truth of the virtual mouse."""

import numpy as np
import pandas as pd
import torch
import xarray as xr

from neurostatic.simulation.cortex import at_cell_resolution, at_contrast
from neurostatic.simulation.mouse import evoked_by
from neurostatic.statistics import pearson

NO_CELL = "no cell"  # kind of a soma that the truth does not know


def drive_ratio(truth: xr.Dataset, unit_ids: np.ndarray, images_px: np.ndarray) -> np.ndarray:
    """True drive of an image over that of the unit's true MEI, both above gray and at one mean and contrast.

    ratio = (e(image) - e(gray)) / (e(true MEI) - e(gray)), e the noiseless evoked response.

    Args:
        truth: of the scan that the MEIs were made from.
        unit_ids: (image,) whose image each is; images_px: (image, y, x).

    Returns:
        (image,): 1 is as good as the truth, 0 as good as gray; NaN for a unit that is no cell.
    """
    truth, is_cell = _rows(truth, unit_ids)
    images = at_contrast(torch.as_tensor(images_px, dtype=torch.float32), truth.attrs["mei_contrast_px"])
    gray = truth.gray_evoked.values
    ratio = (evoked_by(truth, images.numpy()) - gray) / (truth.true_mei_evoked.values - gray)
    return np.where(is_cell, ratio, np.nan)


def true_responses(truth: xr.Dataset, manifest: pd.DataFrame, images_px: np.ndarray) -> pd.DataFrame:
    """What the noiseless cells would have said to the images that were made for them.

    Args:
        truth: of the scan that the images were made from.
        manifest: image_class, owner_unit_id of each image; images_px: (image, y, x) as they were shown.

    Returns:
        unit_id, kind ('no cell' for a unit that is none), image_class, evoked: response to a centered image; natural
        images evoke 1 on average, NaN for a unit that is no cell.
    """
    rows, is_cell = _rows(truth, manifest.owner_unit_id.to_numpy())
    evoked = evoked_by(rows, at_cell_resolution(images_px))
    return pd.DataFrame(
        {
            "unit_id": manifest.owner_unit_id.to_numpy(),
            "kind": np.where(is_cell, rows.kind.values, NO_CELL),
            "image_class": manifest.image_class.to_numpy(),
            "evoked": np.where(is_cell, evoked, np.nan),
        }
    )


def noiseless_correlations(
    truth: xr.Dataset, responses: np.ndarray, trial_idx: np.ndarray, unit_ids: np.ndarray
) -> pd.DataFrame:
    """Correlation of each unit's noiseless rate (with its true gain and gaze) with its single trials.

    Args:
        responses: (trial, unit) of the data set; trial_idx: (trial,); unit_ids: (unit,).

    Returns:
        unit_id, kind, noiseless_correlation: no model predicts single trials better; ceiling: the same, expected of the
        events of one presentation (`truth.ceiling`). 'no cell' and NaN for a unit that is no cell.
    """
    truth, is_cell = _rows(truth, unit_ids)
    trials = pd.Index(truth.trial_idx.values).get_indexer(trial_idx)
    ceiling = np.where(is_cell, pearson(truth.rate.values[trials], responses), np.nan)
    kind = np.where(is_cell, truth.kind.values, NO_CELL)
    expected = np.where(is_cell, truth.ceiling.values, np.nan)
    return pd.DataFrame({"unit_id": unit_ids, "kind": kind, "noiseless_correlation": ceiling, "ceiling": expected})


def matches_correct(source: xr.Dataset, target: xr.Dataset, matches: pd.DataFrame) -> np.ndarray:
    """(match,) whether src_unit_id and unit_id are masks of the same cell; a mask that is no cell matches nothing.

    Args:
        source, target: truth of the scan that the images were made from, and of the later one.
        matches: src_unit_id, unit_id; a row a match.
    """
    from_truth, is_cell = _rows(source, matches.src_unit_id.to_numpy())
    to_truth, is_target_cell = _rows(target, matches.unit_id.to_numpy())
    return (from_truth.cell_id.values == to_truth.cell_id.values) & is_cell & is_target_cell


def _rows(truth: xr.Dataset, unit_ids: np.ndarray) -> tuple[xr.Dataset, np.ndarray]:
    """Rows of the truth of these units, and (unit,) whether each is a cell; any row stands for one that is not."""
    rows = pd.Index(truth.unit_id.values).get_indexer(unit_ids)
    return truth.isel(unit=np.maximum(rows, 0)), rows >= 0
