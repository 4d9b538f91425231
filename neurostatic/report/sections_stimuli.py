"""The page's sections on the images made of units, and on the stimuli made of these."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurostatic.report.figures_gallery import (
    MAX_DETAILED_UNITS,
    MAX_GALLERY_UNITS,
    MAX_SEED_UNITS,
    NATURAL_NAMES,
    detailed_figure,
    gallery_figure,
    natural_kind,
    seeds_figure,
    shown_figure,
)
from neurostatic.report.figures_stimuli import calibration_figure, quality_figure, tuning_figure
from neurostatic.report.markup import capital, count, figure, heading, number, paragraph, percent, section, table
from neurostatic.report.methods import INTERPOLATIONS
from neurostatic.report.results import DatasetResult, Results, StimulusResult
from neurostatic.report.sections_probes import probes_in_page
from neurostatic.report.style import CONTROL_NAMES, MEI_NAMES, finite, median

GRAY_SCALE = "One gray scale: mid gray is the image's own mean"


def meis_section(results: Results) -> str:
    """Gallery of everything made of each unit, MEIs of single seeds, contrast tuning, what could not be made."""
    parts = []
    for name, dataset in results.datasets.items():
        parts += [heading(name)] if len(results.datasets) > 1 else []
        parts.append(paragraph(_meis_in_words(dataset)))
        parts += [_detailed(dataset), *_others(dataset), *_seeds(dataset)]
        caption = (
            "A line is a unit: response predicted by the image's own model as the image is scaled around its mean, "
            "from almost no contrast up to the point where pixels would leave 0-255. Dot: the image as made (its "
            "pixels clipped at 0 or 255 may take it off the line). Gray dashed: not monotonic."
        )
        parts.append(figure(tuning_figure(dataset.cnn, dataset.linear), "Contrast tuning.", caption))
        parts += probes_in_page(dataset.probes, dataset.configs.get("probe_models", {}).get("probes", {}))
        parts.append(_failed(dataset))
    return section("meis", "Most exciting images", *parts)


def _detailed(dataset: DatasetResult) -> str:
    selected = dataset.selected[:MAX_DETAILED_UNITS]
    gabor = "" if dataset.gabors is None else ", the best Gabor"
    natural = NATURAL_NAMES[natural_kind(dataset.natural)]
    comparable = "" if dataset.stimuli is None else "; those of the stimuli below can, at one mean and contrast"
    caption = (
        f"A row is a unit: its most exciting image (MEI) of the CNN; the part of it behind its tight mask; its "
        f"receptive field (RF), the most exciting image of the linear model{gabor}; the best {natural}; and how the "
        f"predicted response grows with the contrast of the MEI (SD of the image in px; dot: the MEI as made). Above "
        "an image: predicted response (SD of the unit's responses), by the linear model for the RF and by the CNN for "
        "the others, at the contrast (SD) at which that image was made. These contrasts differ, so the numbers of one "
        f"row cannot be compared with each other{comparable}. {GRAY_SCALE}; what exceeds the scale is black or white."
    )
    drawing = detailed_figure(selected, dataset.cnn, dataset.linear, dataset.masks, dataset.natural, dataset.gabors)
    title = f"What was made of each unit ({len(selected)} of {count(len(dataset.selected), 'unit')})."
    return figure(drawing, title, caption)


def _others(dataset: DatasetResult) -> list[str]:
    others = dataset.selected[MAX_DETAILED_UNITS : MAX_DETAILED_UNITS + MAX_GALLERY_UNITS]
    if others.empty:
        return []
    caption = (
        "For each unit, left: MEI with the outline of its tight mask (where the mask is 0.5); right: RF. Numbers: as "
        f"above. {GRAY_SCALE}."
    )
    drawing = gallery_figure(others, dataset.cnn, dataset.linear, dataset.masks)
    return [figure(drawing, f"MEIs and RFs of the next {count(len(others), 'unit')}.", caption)]


def _seeds(dataset: DatasetResult) -> list[str]:
    """What differs between the MEIs of single seeds, where each seed made one."""
    cnn = dataset.cnn
    if "seed_disagreement" not in cnn:
        return []
    known = np.flatnonzero(np.isfinite(cnn.seed_disagreement.values))
    words = "Between the MEIs of single seeds no disagreement could be measured."
    if len(known):
        values = cnn.seed_disagreement.values[known]
        worst = known[values.argmax()]
        words = (
            f"The MEIs that single seeds make of a unit disagree by a median of {number(np.median(values), '.2f')} "
            f"({count(len(known), 'unit')}; 0: all alike, 1: unrelated, 2: light and dark exchanged, which does not "
            f"matter to a complex cell); most by {number(values.max(), '.2f')}, "
            f"{_unit(dataset, str(cnn.scan.values[worst]), int(cnn.unit_id.values[worst]))}."
        )
    selected = dataset.selected[:MAX_SEED_UNITS]
    caption = (
        "The MEI of all seeds together, then the MEI that each seed alone makes of the unit from the same noise. "
        "Numbers: response predicted by the model that made the image, none: to the noise this seed does not respond, "
        "so that it made no image; d: disagreement, 1 - mean correlation between "
        f"the MEIs of two seeds. {GRAY_SCALE}."
    )
    title = f"MEIs of single seeds ({len(selected)} of {count(len(dataset.selected), 'unit')})."
    return [paragraph(words), figure(seeds_figure(selected, cnn), title, caption)]


def _meis_in_words(dataset: DatasetResult) -> str:
    words = f"{count(len(dataset.selected), 'unit')} selected, in the order of selection (by the gain of the CNN over "
    words += f"the linear model). {_search_in_words(dataset)} "
    made = [int((store.failed.values == "").sum()) for store in (dataset.cnn, dataset.linear)]
    words += f"Made: {count(made[0], 'MEI')} and {count(made[1], 'RF')}"
    ratio = finite(dataset.masks.reduction_ratio)
    if len(ratio):
        words += f"; {count(len(ratio), 'tight mask')}, which keep a median of {np.median(ratio):.3f} of the response "
        words += "to the MEI behind its first, widest mask"
    return words + "."


def _search_in_words(dataset: DatasetResult) -> str:
    """How much work the optimizer had."""
    meis = dataset.configs["join_meis"]["meis"]
    if meis["optimizer"] == "published":
        return f"Optimizer: published, {meis['iterations']} steps an image."
    made = dataset.cnn.failed.values == ""
    evaluations = median(dataset.cnn.evaluations.values[made])
    return (
        f"Optimizer: projected, contrast at most {meis['contrast_px']:g} px; an MEI took a median of "
        f"{number(evaluations, '.0f')} evaluations of the model, and {int(dataset.cnn.converged.values[made].sum())} "
        f"of {count(int(made.sum()), 'MEI')} converged."
    )


def _failed(dataset: DatasetResult) -> str:
    """Every image that could not be made, with the reason."""
    stores = {"MEI": dataset.cnn, "RF": dataset.linear, "tight mask": dataset.masks}
    if dataset.gabors is not None:
        stores["best Gabor"] = dataset.gabors
    for kind in dataset.natural.kind.values.tolist():
        stores[f"best {NATURAL_NAMES[kind]}"] = dataset.natural.sel(kind=kind)
    rows = [
        [what, ", ".join(_unit(dataset, *unit) for unit in units), reason]
        for what, store in stores.items()
        for reason, units in _failures(store).items()
    ]
    if not rows:
        return paragraph("No image failed.")
    return table(["image", "units", "reason"], rows, "Images that could not be made.")


def _failures(store: xr.Dataset) -> dict[str, list[tuple[str, int]]]:
    """Reason -> the units that failed for it."""
    found: dict[str, list[tuple[str, int]]] = {}
    for reason, scan, unit_id in zip(store.failed.values, store.scan.values, store.unit_id.values, strict=True):
        if reason:
            found.setdefault(str(reason), []).append((str(scan), int(unit_id)))
    return found


def _unit(dataset: DatasetResult, scan: str, unit_id: int) -> str:
    return f"unit {unit_id}" + (f" of {scan}" if len(dataset.scans) > 1 else "")


def stimuli_section(results: Results) -> str:
    """Monitor calibration, and for each stimulus set its images and what they look like in cd/m2."""
    parts = []
    for name, dataset in results.datasets.items():
        if dataset.stimuli is None:
            parts.append(
                paragraph(
                    f"Left out for {name}: its first scan has no monitor_calibration.csv, so no stimulus set was made."
                )
            )
        else:
            parts += [heading(name)] if len(results.datasets) > 1 else []
            made = dataset.configs["make_stimuli"]
            parts.append(_calibration(dataset.stimuli, made))
            for kind in dataset.stimuli.manifests:
                parts += _stimulus_set(dataset.stimuli, kind, made["stimuli"])
    return section("stimuli", "Stimuli", *parts)


def _calibration(stimuli: StimulusResult, made: dict[str, Any]) -> str:
    fit = stimuli.fit[stimuli.fit.chosen].iloc[0]
    law = f"luminance = {fit.amplitude:.3g} · pixel^{fit.gamma:.3f} + {fit.offset:.3f} cd/m²"
    rig = f", rig {fit.rig}" if "rig" in fit else ""
    caption = (
        f"Left: the measured table nearest in time to the scan ({fit.timestamp}, {fit.gap_hours:.1f} h from it{rig}) "
        f"and its power law, {law}. Right: what the power law leaves of each level (mean squared error {fit.mse:.2g}). "
        f"The stimuli were converted with the table itself, by {INTERPOLATIONS[made['interpolation']]}."
    )
    options = made["stimuli"]
    drawing = calibration_figure(stimuli.calibration, fit, options["mean_cd_m2"], options["contrast_cd_m2"])
    return figure(drawing, "Monitor calibration.", caption)


def _stimulus_set(stimuli: StimulusResult, kind: str, options: dict[str, Any]) -> list[str]:
    mean, contrast = options["mean_cd_m2"], options["contrast_cd_m2"]
    manifest, qc = stimuli.manifests[kind], stimuli.qc[kind]
    mei, control = MEI_NAMES[kind], CONTROL_NAMES[kind]
    words = (
        f"{count(len(qc), 'image')} of {count(_n_units(manifest), 'unit')}; {int(qc.ok.sum())} within 5 % of mean "
        f"{mean:g} cd/m² and contrast {contrast:g} cd/m²; {count(int((qc.clipped_fraction > 0).sum()), 'image')} with "
        f"clipped pixels, at most {100 * qc.clipped_fraction.max():.2f} % of an image."
    )
    shown_caption = (
        f"The first {count(_n_units(stimuli.examples[kind][0]), 'unit')}, as they are to be shown: the {mei} above, "
        f"the {control} below. Numbers: response that the CNN predicts for this image. All stimuli have one mean and "
        "contrast in cd/m², so that these numbers can be compared; in gray levels, which the model sees, dark images "
        "have more contrast than bright ones."
    )
    quality_caption = (
        "A point is one stimulus as the monitor shows it, after rounding to 8 bits (the pair of a unit shares its "
        "image id). Line and gray band: target ± 5 %. Right: share of pixels at 0 or 255."
    )
    return [
        heading(capital(f"{mei} against {control}")),
        paragraph(words + _predicted_in_words(manifest, mei, control)),
        figure(shown_figure(*stimuli.examples[kind]), f"Shown images, {mei} against {control}.", shown_caption),
        figure(
            quality_figure(qc, mean, contrast),
            f"Luminance and contrast of the stimuli, {mei} against {control}.",
            quality_caption,
        ),
    ]


def predicted_pairs(manifest: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """What the CNN predicts for the two centered images of each unit, MEI and control; units with both."""
    centered = manifest[(manifest.x_shift == 0) & (manifest.y_shift == 0)]
    classes = list(dict.fromkeys(centered.image_class))
    predicted = centered.pivot(
        index=["owner_scan", "owner_unit_id"], columns="image_class", values="predicted_response"
    )[classes].dropna()
    return predicted[classes[0]], predicted[classes[1]]


def _predicted_in_words(manifest: pd.DataFrame, mei: str, control: str) -> str:
    first, second = predicted_pairs(manifest)
    if first.empty:
        return ""
    return (
        f" The CNN predicts a larger response to the {mei} than to the {control} for {int((first > second).sum())} of "
        f"{count(len(first), 'unit')} ({percent((first > second).mean())}); medians {first.median():.2f} and "
        f"{second.median():.2f} (SD of the unit)."
    )


def _n_units(manifest: pd.DataFrame) -> int:
    return len(manifest[["owner_scan", "owner_unit_id"]].drop_duplicates())
