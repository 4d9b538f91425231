"""How well a network predicts: correlations per unit."""

import numpy as np
import pandas as pd
import torch

from neurostatic.data.reliability import cc_abs, cc_norm, feve
from neurostatic.fitting.tensors import TierTensors
from neurostatic.models.networks import CorePlusReadout
from neurostatic.statistics import pearson

SCORED_UNITS = 4096  # at a time: correlations need double precision
SCORES = ("pearson", "cc_abs", "cc_norm", "feve")


@torch.no_grad()
def predict(
    network: CorePlusReadout,
    scan: str,
    tier: TierTensors,
    eye_pos: str | None = "trial",
    behavior: str | None = "trial",
    batch_size: int = 256,
) -> torch.Tensor:
    """Predicted responses (trial, unit) in eval mode.

    Args:
        eye_pos: "trial", each trial's own; "mean", that of the training trials, which goes through the shifter; None,
            no shift: the mouse looks straight ahead.
        behavior: "trial", "mean" likewise; None, a gain of one.

    Raises ValueError for anything else.
    """
    for name, given in (("eye_pos", eye_pos), ("behavior", behavior)):
        if given not in ("trial", "mean", None):
            raise ValueError(f"{name}: 'trial', 'mean' or None, got {given!r}")
    was_training = network.training
    network.eval()
    predicted = []
    for trials in torch.split(torch.arange(len(tier.responses), device=tier.image_index.device), batch_size):
        batch = tier.take(trials)
        eye = {"trial": batch.eye, "mean": tier.mean_eye[None], None: None}[eye_pos]
        state = {"trial": batch.behavior, "mean": tier.mean_behavior[None], None: None}[behavior]
        predicted.append(network(batch.images, scan, eye, state))
    network.train(was_training)
    return torch.cat(predicted)


def score_units(predicted: torch.Tensor, responses: torch.Tensor) -> torch.Tensor:
    """Pearson correlation over single trials, unit by unit; a constant prediction scores 0, a silent unit has NaN.

    Args:
        predicted, responses: (trial, unit).
    """
    scores = []
    blocks = (torch.split(values, SCORED_UNITS, 1) for values in (predicted, responses))
    for some, recorded in zip(*blocks, strict=True):
        correlation = pearson(some.cpu().numpy(), recorded.cpu().numpy())
        constant, silent = ((values == values[:1]).all(0).cpu().numpy() for values in (some, recorded))
        scores.append(torch.from_numpy(np.where(constant & ~silent, 0.0, correlation)))
    return torch.cat(scores)


def score_repeats(predicted: torch.Tensor, tier: TierTensors) -> dict[str, np.ndarray]:
    """All scores of a tier whose images are repeated (SCORES), each (unit,).

    Single-trial correlation; correlation of the means over repeats; that over the highest possible one; explained part
    of the explainable variance.

    Args:
        predicted: (trial, unit).
    """
    responses = tier.responses[:]
    of_trials = (predicted.cpu().numpy(), responses.cpu().numpy(), tier.image_index.cpu().numpy())
    single = score_units(predicted, responses).numpy()
    return dict(zip(SCORES, (single, cc_abs(*of_trials), cc_norm(*of_trials), feve(*of_trials)), strict=True))


def score_tiers(
    network: CorePlusReadout, scans: dict[str, dict[str, TierTensors]], unit_ids: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Model.UnitTestScores: correlation of every unit in the validation and the test tier, eye and behavior per trial.

    Returns:
        scan, unit_id, tier, pearson, and of the test tier, whose images are repeated, cc_abs, cc_norm and feve. A tier
        without trials has no rows.
    """
    tables = [pd.DataFrame(columns=["scan", "unit_id", "tier", *SCORES])]
    for scan, tiers in scans.items():
        for tier in ("validation", "test"):
            if not len(tiers[tier].responses):
                continue
            predicted = predict(network, scan, tiers[tier])
            if tier == "test":
                scores = score_repeats(predicted, tiers[tier])
            else:
                scores = {"pearson": score_units(predicted, tiers[tier].responses[:]).numpy()}
            tables.append(pd.DataFrame({"scan": scan, "unit_id": unit_ids[scan], "tier": tier, **scores}))
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)
