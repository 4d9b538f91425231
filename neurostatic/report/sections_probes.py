"""The page's part on what the CNN was asked beside its MEIs: in-silico confusion, shifts, gradients, diverse images."""

from typing import Any

import numpy as np
import xarray as xr

from neurostatic.report.figures_probes import probes_figure
from neurostatic.report.markup import count, figure, number, paragraph, percent
from neurostatic.report.style import median


def probes_in_page(probes: xr.Dataset | None, options: dict[str, Any]) -> list[str]:
    """Words on every probe that was made, and a figure of the confusion and the shifts.

    Args:
        options: of the config's section probes.
    """
    if probes is None:
        return []
    words = []
    if "confusion" in probes:
        matrix = probes.confusion.sel(model_type="cnn").values
        usable = np.flatnonzero(np.isfinite(matrix).all(1))
        best = np.nan_to_num(matrix, nan=-np.inf).argmax(0)[usable]
        own, rf = (np.diagonal(probes.confusion.sel(model_type=name).values) for name in ("cnn", "linear"))
        ratio = median(rf[own > 0] / own[own > 0])
        words.append(
            f"In silico, at one mean and contrast, {percent((best == usable).mean() if len(usable) else np.nan)} of "
            f"{count(len(usable), 'unit')} respond more to their own MEI than to that of any other unit; the response "
            f"of the CNN to a unit's RF is a median of {number(ratio, '.2f')} of "
            "that to its MEI"
        )
    if "share" in probes:
        share = median(probes.share.isel(component=0).values)
        words.append(
            f"the first direction holds a median of {percent(share)} of the "
            "variance of a unit's gradients over natural images, all of it for a linear unit"
        )
    if "similarity" in probes:
        similarity = median(probes.similarity.values)
        words.append(
            f"images as different as they can be that keep {percent(options['diverse_ratio'])} of the response have a "
            f"median correlation of {number(similarity, '.2f')} with each "
            "other, near 0 for a unit that does not care for phase"
        )
    parts = [paragraph("; ".join(words) + ".")] if words else []
    if "confusion" in probes or "shift_response" in probes:
        caption = (
            f"Images at a mean of {options['mean_px']:g} px and a contrast (SD) of {options['contrast_px']:g} px, "
            "through the CNN. Matrices: a row is an image, a column a unit, each divided by the unit's response to its "
            "own MEI, so that the diagonal of the first is 1 (look beside it); more than 1 is drawn as 1. Both in the "
            "order of selection. Right: response to the own MEI moved along x and y, over that to "
            "the one in place, median over units."
        )
        parts.append(figure(probes_figure(probes), "In-silico confusion and shifts.", caption))
    return parts
