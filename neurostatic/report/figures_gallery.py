"""Images side by side on one gray scale: what was made of each unit, what every seed made of it, what was shown."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurostatic.report.style import CNN, DPI, GRAY, IMAGE_LOOKS, YELLOW, finite, tile
from neurostatic.stimuli.masks import mask_image
from neurostatic.stimuli.variants import ENSEMBLE, best_of_starts

MAX_DETAILED_UNITS = 12
MAX_GALLERY_UNITS = 24
MAX_SEED_UNITS = 8
IMAGES_A_ROW = 6
WIDTH_IN = 9.4
LABEL_PX = 14  # room for two lines of text above each image
HEADER_PX = 9  # and for that above a column
GRAY_PERCENTILE = 99.5
REASON_CHARACTERS = 22  # a line of a reason that stands in the place of an image
CLASS_CHARACTERS = 14  # a line of the name beside a row of images
NATURAL_NAMES = {
    "tight": "natural image behind the tight mask",
    "unmasked": "natural image",
    "gaussian": "natural image behind the Gaussian envelope",
}
NATURAL_HEADERS = {"tight": "best natural, masked", "unmasked": "best natural", "gaussian": "best natural, masked"}
COLORBAR_LABEL = "gray level minus mean of the image (px of 0-255)"


def gray_limit(*meis: np.ndarray) -> float:
    """Half range (px) of the gray scale that all these images share: a percentile of |px - mean of the image|."""
    deviations = [np.abs(images - images.mean((1, 2), keepdims=True)).ravel() for images in meis]
    deviation = finite(np.concatenate(deviations))
    return max(1.0, float(np.percentile(deviation, GRAY_PERCENTILE))) if len(deviation) else 1.0


def natural_kind(natural: xr.Dataset) -> str:
    """Which of the searches for natural images is shown: the one behind the tight mask, if it was made."""
    kinds = natural.kind.values.tolist()
    return next(kind for kind in ("tight", "unmasked", *kinds) if kind in kinds)


def detailed_figure(
    selected: pd.DataFrame,
    cnn: xr.Dataset,
    linear: xr.Dataset,
    masks: xr.Dataset,
    natural: xr.Dataset,
    gabors: xr.Dataset | None,
) -> Figure:
    """A unit a row: its MEI, whole and behind its tight mask, RF, best Gabor and natural image, contrast tuning.

    Each image is shown as px - mean of the image, all on one gray scale (`gray_limit` of MEIs and RFs).

    Args:
        selected: scan, unit_id of the units, in the order shown, at most MAX_DETAILED_UNITS.
        cnn, linear, masks, natural, gabors: stores with scan and unit_id along unit; without Gabors their column is
            left out.
    """
    natural = natural.sel(kind=natural_kind(natural))
    masked = cnn[["failed", "mei"]].assign(mask=_aligned(masks.tight_mask, cnn))
    masked["image"] = mask_image(masked.mei, masked.mask, masked.mei.mean(("y", "x")))
    masked["failed"] = ("unit", _aligned(masks.failed, cnn, "not made").values)
    columns = {
        "MEI": cnn.assign(image=cnn.mei),
        "MEI, masked": masked,
        "RF": linear.assign(image=linear.mei),
        **({} if gabors is None else {"best Gabor": gabors.assign(image=gabors.gabor_px)}),
        NATURAL_HEADERS[str(natural.kind.values)]: natural.assign(image=natural.natural_px),
    }
    units = list(zip(selected.scan, selected.unit_id, strict=True))
    places = {name: _places(store) for name, store in columns.items()}
    images = [
        [_image(store.image, places[name].get(unit), cnn.mei.shape[1:]) for name, store in columns.items()] + [None]
        for unit in units
    ]
    figure, axis, corners = _mosaic(images, gray_limit(cnn.mei.values, linear.mei.values), header=True)
    n_columns = len(columns) + 1
    for column, name in enumerate([*columns, "MEI: contrast tuning"]):
        axis.text(corners[column][0], -LABEL_PX, name, fontsize=8, weight="bold", va="bottom")
    names = _unit_names(selected)
    for row, unit in enumerate(units):
        places_of_row = corners[row * n_columns : (row + 1) * n_columns]
        for (x, y), (name, store) in zip(places_of_row, columns.items(), strict=False):
            label = _strength(store, places[name].get(unit)) if "activation" in store else ""
            label = f"{names[row]}:  {label}" if name == "MEI" else label
            axis.text(x, y - 2, label, fontsize=8, va="bottom", parse_math=False)
            _reason(axis, store, places[name].get(unit), x, y)
        if unit in places["MEI"]:
            _tuning(axis, cnn.isel(unit=places["MEI"][unit]), *places_of_row[-1])
    return figure


def gallery_figure(selected: pd.DataFrame, cnn: xr.Dataset, linear: xr.Dataset, masks: xr.Dataset) -> Figure:
    """MEI with the outline of its tight mask, and RF, of each unit, three units a row.

    Args:
        selected: scan, unit_id of the units, in the order shown, at most MAX_GALLERY_UNITS.
        cnn, linear, masks: stores with scan and unit_id along unit.
    """
    units = list(zip(selected.scan, selected.unit_id, strict=True))
    stores = {"MEI": cnn, "RF": linear}
    places = {name: _places(store) for name, store in stores.items()}
    images = [
        _image(store.mei, places[name].get(unit), cnn.mei.shape[1:]) for unit in units for name, store in stores.items()
    ]
    rows = [images[i : i + IMAGES_A_ROW] for i in range(0, len(images), IMAGES_A_ROW)]
    figure, axis, corners = _mosaic(rows, gray_limit(cnn.mei.values, linear.mei.values))
    names, of_masks = _unit_names(selected), _places(masks)
    for i, unit in enumerate(units):
        for (x, y), (name, store) in zip(corners[2 * i : 2 * i + 2], stores.items(), strict=True):
            label = f"{names[i]}:  " if name == "MEI" else "RF  "
            label += _strength(store, places[name].get(unit))
            axis.text(x, y - 2, label, fontsize=8, va="bottom", parse_math=False)
            _reason(axis, store, places[name].get(unit), x, y)
        if unit in of_masks:
            _outline(axis, masks.tight_mask.values[of_masks[unit]], *corners[2 * i])
    return figure


def seeds_figure(selected: pd.DataFrame, cnn: xr.Dataset) -> Figure:
    """MEI of the ensemble beside those of its seeds, each from its best start, in the first state of the mouse.

    Args:
        selected: scan, unit_id of the units, in the order shown, at most MAX_SEED_UNITS.
        cnn: with variant_mei, variant_activation and seed_disagreement.
    """
    units = [_places(cnn)[unit] for unit in zip(selected.scan, selected.unit_id, strict=True)]
    models = cnn.model.values.tolist()
    variants = cnn[["variant_mei", "variant_activation"]].isel(eye=0, behavior=0, unit=units)
    variants = variants.transpose("model", "unit", "start", ...)
    best = xr.DataArray(best_of_starts(variants.variant_activation.values), dims=("model", "unit"))
    variants = variants.isel(start=best)
    images = variants.variant_mei.values - variants.variant_mei.values.mean((-2, -1), keepdims=True)
    units_a_row = max(1, IMAGES_A_ROW // len(models))
    rows = [
        [image for unit in range(i, min(i + units_a_row, len(units))) for image in images[:, unit]]
        for i in range(0, len(units), units_a_row)
    ]
    figure, axis, corners = _mosaic(rows, gray_limit(images.reshape(-1, *images.shape[-2:])))
    for i, name in enumerate(_unit_names(selected)):
        disagreement = float(cnn.seed_disagreement.values[units[i]])
        for j, model in enumerate(models):
            x, y = corners[len(models) * i + j]
            activation = float(variants.variant_activation.values[j, i])
            strength = f"{activation:.2f}" if np.isfinite(activation) else "none"
            label = f"seed {model}:  {strength}"
            if model == ENSEMBLE:
                label = f"{name}:  {strength}" + ("" if np.isnan(disagreement) else f"   d = {disagreement:.2f}")
            axis.text(x, y - 2, label, fontsize=8, va="bottom", parse_math=False)
    return figure


def shown_figure(manifest: pd.DataFrame, images: np.ndarray) -> Figure:
    """Stimuli as they were shown: a row a class of images, a column a unit.

    Args:
        manifest: image_class, owner_scan, owner_unit_id, predicted_response of each image; the units of each class in
            one order.
        images: (image, y, x) uint8, in the order of the manifest.
    """
    classes = list(dict.fromkeys(manifest.image_class))
    n_units = len(manifest) // len(classes)
    height, width = images.shape[1:]
    figure = Figure(dpi=DPI, layout="constrained")
    column_in = WIDTH_IN / max(n_units, 5)
    figure.set_size_inches(column_in * n_units, len(classes) * (column_in * height / width + 0.3))
    axes = figure.subplots(len(classes), n_units, squeeze=False)
    names = _unit_names(manifest.rename(columns={"owner_scan": "scan", "owner_unit_id": "unit_id"}))
    for axis, image, name, row in zip(axes.ravel(), images, names, manifest.itertuples(), strict=True):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        strength = "" if np.isnan(row.predicted_response) else f"{row.predicted_response:.2f}"
        label = f"{name}:  {strength}" if row.image_class == classes[0] else strength
        axis.set_title(label, fontsize=8, loc="left", pad=2, parse_math=False)
    for axis, image_class in zip(axes[:, 0], classes, strict=True):
        axis.set_ylabel(textwrap.fill(IMAGE_LOOKS[image_class][0], CLASS_CHARACTERS), fontsize=8)
    return figure


def _mosaic(
    rows: Sequence[Sequence[np.ndarray | None]], limit: float, header: bool = False
) -> tuple[Figure, Axes, list[tuple[int, int]]]:
    """Images tiled over the width of the page with room for text above each, and their gray scale below.

    Returns:
        The figure, the axis in pixels of the images, and the (x, y) of the upper left corner of each place.
    """
    mosaic, corners = tile(rows, gap_y_px=LABEL_PX)
    above_px = LABEL_PX + (HEADER_PX if header else 0)
    width, height = mosaic.shape[1], mosaic.shape[0] + above_px
    width_in = WIDTH_IN * min(1.0, max(map(len, rows)) / (IMAGES_A_ROW - 1))
    image_in, bar_in = width_in * height / width, 0.6
    total_in = image_in + bar_in
    figure = Figure(figsize=(width_in, total_in), dpi=DPI)
    axis = figure.add_axes((0, bar_in / total_in, 1, image_in / total_in))
    shown = axis.imshow(mosaic, cmap="gray", vmin=-limit, vmax=limit, interpolation="nearest")
    axis.set(xlim=(-0.5, width - 0.5), ylim=(mosaic.shape[0] - 0.5, -above_px - 0.5))
    axis.set_axis_off()
    bar_axis = figure.add_axes((0.3, 0.42 / total_in, 0.4, 0.12 / total_in))
    bar = figure.colorbar(shown, cax=bar_axis, orientation="horizontal")
    bar.set_label(COLORBAR_LABEL, fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    return figure, axis, corners


def _places(store: xr.Dataset | xr.DataArray) -> dict[tuple[str, int], int]:
    units = zip(store.scan.values.tolist(), store.unit_id.values.tolist(), strict=True)
    return {unit: place for place, unit in enumerate(units)}


def _aligned(values: xr.DataArray, like: xr.Dataset, missing: float | str = np.nan) -> xr.DataArray:
    """Values of the units of another store, in its order."""
    own = _places(values)
    found = [values.values[own[unit]] if unit in own else np.full(values.shape[1:], missing) for unit in _places(like)]
    return xr.DataArray(np.array(found), dims=values.dims)


def _image(images: xr.DataArray, place: int | None, shape: tuple[int, int]) -> np.ndarray:
    """px - mean of an image (y, x); NaN where there is none."""
    image = np.full(shape, np.nan) if place is None else images.values[place]
    return image - image.mean()


def _unit_names(units: pd.DataFrame) -> list[str]:
    several = units.scan.nunique() > 1
    rows = zip(units.scan, units.unit_id, strict=True)
    return [f"{scan}\nunit {unit_id}" if several else f"unit {unit_id}" for scan, unit_id in rows]


def _strength(store: xr.Dataset, place: int | None) -> str:
    """Response to an image and the image's own contrast; a dash where there is none."""
    activation = np.nan if place is None else float(store.activation.values[place])
    image = store.image if "image" in store else store.mei
    return f"{activation:.2f} at {image.values[place].std():.0f} px" if np.isfinite(activation) else "–"


def _reason(axis: Axes, store: xr.Dataset, place: int | None, x: float, y: float) -> None:
    """In the place of an image that could not be made: why."""
    reason = "not made" if place is None else str(store.failed.values[place])
    if reason:
        text = textwrap.fill(f"none: {reason}", REASON_CHARACTERS, max_lines=4)
        axis.text(x + 2, y + 2, text, fontsize=7, va="top", color=GRAY, parse_math=False)


def _outline(axis: Axes, mask: np.ndarray, x: int, y: int) -> None:
    """Where a mask (y, x) is 0.5."""
    if np.isfinite(mask).all() and mask.max() > 0.5 > mask.min():
        y_px, x_px = np.arange(mask.shape[0]) + y, np.arange(mask.shape[1]) + x
        axis.contour(x_px, y_px, mask, levels=[0.5], colors=[YELLOW], linewidths=1.1)


def _tuning(axis: Axes, unit: xr.Dataset, x: float, y: float) -> None:
    """A small panel in the place of an image: response over contrast, a dot at the image as it is."""
    contrast, response = unit.tuning_contrast.values, unit.tuning_response.values
    if not np.isfinite(response).any():
        return
    height, width = unit.mei.shape
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()  # inset axes know fractions, the y axis points down
    corner = (x + 0.16 * width - left) / (right - left), (y + 0.88 * height - bottom) / (top - bottom)
    panel = axis.inset_axes((*corner, 0.8 * width / (right - left), 0.84 * height / (bottom - top)))
    panel.plot(contrast, response, color=CNN, linewidth=1.2)
    panel.plot(
        float(unit.mei.values.std()), float(unit.activation), "o", color=CNN, markersize=4, markeredgecolor="white"
    )
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=6.5, length=2, pad=1.5)
    panel.locator_params(nbins=3)
    panel.set_xlim(left=0)
