"""Stimulus sets: the images that the closed-loop experiment shows, at one mean and contrast in cd/m2."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from neurostatic.config import STIMULUS_SETS, Stimuli
from neurostatic.data.calibration import MonitorCalibration
from neurostatic.data.frames import area_resize
from neurostatic.problems import InputError, report_problems
from neurostatic.stimuli.files import MANIFEST_COLUMNS, StimulusSet, image_checksum
from neurostatic.stimuli.gabors import gabor_stimulus
from neurostatic.stimuli.luminance import LuminanceMatched, luminance_chain, match_luminance, upscale_mask

TOLERANCE = 0.05  # of mean and of contrast, relative to the target
PUBLISHED = Stimuli()

Images = np.ndarray  # (unit, y, x) px; xarray arrays with coordinates scan and unit_id are checked against the units
RespondPaired = Callable[[np.ndarray, np.ndarray], np.ndarray]


def mei_vs_rf_set(
    units: pd.DataFrame,
    cnn_meis: Images,
    linear_meis: Images,
    calibration: MonitorCalibration,
    config: Stimuli = PUBLISHED,
    respond_paired: RespondPaired | None = None,
) -> StimulusSet:
    """MEIs (multi_cnn_mei) against receptive fields, the linear model's MEIs (multi_lin_rf).

    Args, Raises: as `stimulus_set`.

    Source: fill_multimei_stimulus (fill_multi_mei_stimulus), ProcessedShiftedMEI2.
    """
    meis = {"multi_cnn_mei": cnn_meis, "multi_lin_rf": linear_meis}
    if np.shape(cnn_meis)[1:] != np.shape(linear_meis)[1:]:
        raise InputError(f"stimulus set mei_vs_rf: RFs {np.shape(linear_meis)} are not in the size of the MEIs")

    def make(image_class: str, unit: int) -> LuminanceMatched:
        return luminance_chain(meis[image_class][unit], calibration, *_targets(config), config.zoom)

    return stimulus_set("mei_vs_rf", units, meis, make, calibration, config, config.shifts_px, respond_paired)


def mei_vs_gabor_set(
    units: pd.DataFrame,
    cnn_meis: Images,
    gabors: Images,
    calibration: MonitorCalibration,
    config: Stimuli = PUBLISHED,
    respond_paired: RespondPaired | None = None,
) -> StimulusSet:
    """MEIs (multi_cnn_mei) against the best Gabor of each unit (gabor), unshifted.

    Args:
        gabors: (unit, y, x) as drawn, around 0: a Gabor is taken to be in luminance, and only scaled.

    Args, Raises: as `stimulus_set`.

    Source: fill_gabor_stimulus, ProcessedBestGabor.
    """

    def make(image_class: str, unit: int) -> LuminanceMatched:
        if image_class == "gabor":
            return gabor_stimulus(np.asarray(gabors[unit]), calibration, *_targets(config), config.zoom)
        return luminance_chain(cnn_meis[unit], calibration, *_targets(config), config.zoom)

    images = {"multi_cnn_mei": cnn_meis, "gabor": gabors}
    return stimulus_set("mei_vs_gabor", units, images, make, calibration, config, (0,), respond_paired)


def mei_vs_natural_set(
    units: pd.DataFrame,
    cnn_meis: Images,
    natural_px: Images,
    masks: Images,
    calibration: MonitorCalibration,
    config: Stimuli = PUBLISHED,
    respond_paired: RespondPaired | None = None,
) -> StimulusSet:
    """Masked MEIs (masked_mei) against natural images behind the same mask (masked_imagenet), unshifted.

    Args:
        natural_px: (unit, zoom * y, zoom * x) the best natural image of each unit, in the size that is shown.
        masks: (unit, y, x) the tight mask of each unit.

    Args, Raises: as `stimulus_set`.

    Source: fill_tight_mei_vs_imagenet_stimulus, ProcessedTightMaskedMEI, ProcessedTightMaskedImage.
    """
    masks_of = np.asarray(masks, dtype=float)
    needed, found = tuple(round(config.zoom * n) for n in np.shape(cnn_meis)[1:]), np.shape(natural_px)[1:]
    if found != needed:
        raise InputError(
            f"stimulus set mei_vs_natural: masked_imagenet: images of {' x '.join(map(str, found))} px, "
            f"{' x '.join(map(str, needed))} px are needed"
        )

    def make(image_class: str, unit: int) -> LuminanceMatched:
        if image_class == "masked_mei":
            return luminance_chain(cnn_meis[unit], calibration, *_targets(config), config.zoom, masks_of[unit])
        luminance = calibration.luminance(natural_px[unit])
        return match_luminance(luminance, calibration, *_targets(config), upscale_mask(masks_of[unit], config.zoom))

    images = {"masked_mei": cnn_meis, "masked_imagenet": natural_px, "tight mask": masks}
    return stimulus_set("mei_vs_natural", units, images, make, calibration, config, (0,), respond_paired)


def stimulus_set(
    kind: str,
    units: pd.DataFrame,
    images: dict[str, Images],
    make: Callable[[str, int], LuminanceMatched],
    calibration: MonitorCalibration,
    config: Stimuli = PUBLISHED,
    shifts_px: Sequence[int] = (0,),
    respond_paired: RespondPaired | None = None,
) -> StimulusSet:
    """Two classes of images, one of each for a unit, at one mean and contrast in cd/m2.

    Each unit with hu_rank < config.max_units gives one pair of images for each shift; the pair shares its image_id,
    which counts from 0 in the order hu_rank, x_shift, y_shift (ids of units left out stay free). Images are shifted
    after they are matched, by zoom * shift stimulus px (+x right, +y down), and wrap round the border, so every shift
    has the same luminances.

    Args:
        kind: of STIMULUS_SETS, whose classes are made in this order.
        units: columns scan, unit_id, hu_rank (empty: not chosen); row i owns image i of each class.
        images: class, or what else `make` needs, -> (unit, y, x); only checked here, `make` knows what to do with them.
        make: class and row of `units` -> the image at its mean and contrast.
        shifts_px: whole model px, for x and for y; 0 must be among them (only centered images enter the
            confusion matrix).
        respond_paired: images (k, y, x) px at the size of the model and rows of `units` (k,) -> (k,) responses, image
            i by the CNN unit of row i. It is given the final uint8 images, reduced by area averaging; both
            classes are predicted by the CNN. Without it predicted_response is NaN.

    Raises:
        InputError: everything wrong with the input; or every image whose mean or contrast, after rounding, is
            off by 5 % or more.
    """
    classes = STIMULUS_SETS[kind]
    problems = _input_problems(units, images, shifts_px)
    uneven = [shift for shift in shifts_px if (config.zoom * shift) % 1]
    if uneven:
        problems.append(f"stimuli.shifts_px: {uneven} px times the zoom of {config.zoom:g} are no whole stimulus px")
    report_problems(f"stimulus set {kind}", problems)
    ranks = pd.to_numeric(units["hu_rank"]).fillna(np.inf).to_numpy(dtype=float)
    chosen = [row for row in np.argsort(ranks, kind="stable") if ranks[row] < config.max_units]
    if not chosen:
        raise InputError(f"stimulus set {kind}: no unit has a hu_rank below {config.max_units}; nothing to show")
    shifts = [(x_shift, y_shift) for x_shift in sorted(shifts_px) for y_shift in sorted(shifts_px)]
    digits = len(str(int(ranks[chosen[-1]] + 1) * len(shifts) - 1))  # names in the order of the list

    pictures, rows = [], []
    for image_class in classes:
        for unit in chosen:
            centered = make(image_class, unit).image
            for number, (x_shift, y_shift) in enumerate(shifts):
                image_id = int(ranks[unit]) * len(shifts) + number  # the same in sets that lack other units
                image = np.roll(centered, (round(config.zoom * y_shift), round(config.zoom * x_shift)), axis=(0, 1))
                pictures.append(image)
                rows.append(
                    {
                        "image_class": image_class,
                        "image_id": image_id,
                        "owner_scan": str(units["scan"].iloc[unit]),
                        "owner_unit_id": int(units["unit_id"].iloc[unit]),
                        "x_shift": int(x_shift),
                        "y_shift": int(y_shift),
                        "file": f"{image_class}/{image_id:0{digits}d}.png",
                        "sha256": image_checksum(image),
                    }
                )
    shown, manifest = np.stack(pictures), pd.DataFrame(rows)
    qc = quality_table(shown, manifest, calibration, *_targets(config))
    report_problems(f"stimulus set {kind}, luminance", _quality_problems(manifest, qc, *_targets(config)))

    manifest["predicted_response"] = np.nan
    if respond_paired is not None:
        owners = np.tile(np.repeat(chosen, len(shifts)), len(classes))
        height, width = np.shape(images[classes[0]])[1:]  # the MEIs are of the size of the model
        predicted = respond_paired(area_resize(shown, height, width, rounded=False), owners)
        manifest["predicted_response"] = np.asarray(predicted, dtype=float)
    return StimulusSet(shown, manifest[list(MANIFEST_COLUMNS)], qc)


def quality_table(
    images: np.ndarray,
    manifest: pd.DataFrame,
    calibration: MonitorCalibration,
    mean_cd_m2: float,
    contrast_cd_m2: float,
) -> pd.DataFrame:
    """Mean and contrast of uint8 images as the monitor shows them, and whether they are within 5 %.

    Args:
        images: (image, y, x) uint8, in the order of the manifest.

    Returns:
        image_class, image_id, mean_cd_m2, contrast_cd_m2, mean_ok, contrast_ok, clipped_fraction (pixels at 0
        or 255), ok.
    """
    luminance_of = calibration.luminance(np.arange(256))  # a pixel value has one luminance: look it up
    rows = []
    for image in images:
        luminance = luminance_of[image]
        mean, contrast = luminance.mean(), luminance.std()
        mean_ok, contrast_ok = within_tolerance(mean, mean_cd_m2), within_tolerance(contrast, contrast_cd_m2)
        rows.append(
            {
                "mean_cd_m2": mean,
                "contrast_cd_m2": contrast,
                "mean_ok": mean_ok,
                "contrast_ok": contrast_ok,
                "clipped_fraction": np.mean((image == 0) | (image == 255)),
                "ok": mean_ok and contrast_ok,
            }
        )
    names = manifest[["image_class", "image_id"]].reset_index(drop=True)
    return pd.concat([names, pd.DataFrame(rows)], axis=1)


def within_tolerance(reached: float, target: float) -> bool:
    """Whether abs(1 - reached / target) < 0.05."""
    return bool(abs(1 - reached / target) < TOLERANCE)


def _targets(config: Stimuli) -> tuple[float, float]:
    return config.mean_cd_m2, config.contrast_cd_m2


def _input_problems(units: pd.DataFrame, images_by_class: dict[str, Images], shifts_px: Sequence[int]) -> list[str]:
    missing = [name for name in ("scan", "unit_id", "hu_rank") if name not in units]
    if missing:
        return [f"column '{name}' of units is missing" for name in missing]
    problems = []
    ranks = pd.to_numeric(units["hu_rank"], errors="coerce")
    if ranks.isna().sum() > units["hu_rank"].isna().sum():
        problems.append("hu_rank must be a number or empty")
    if ((ranks % 1 != 0) | (ranks < 0))[ranks.notna()].any():
        problems.append("hu_rank must be whole, from 0")
    if ranks.dropna().duplicated().any():
        repeated = sorted(set(ranks[ranks.duplicated() & ranks.notna()].tolist()))
        problems.append(f"hu_rank {repeated} given more than once")
    if not np.all(pd.to_numeric(units["unit_id"], errors="coerce") % 1 == 0):
        problems.append("unit_id must be a whole number")
    if units.duplicated(["scan", "unit_id"]).any():
        problems.append("a unit (scan, unit_id) is given more than once")
    if 0 not in shifts_px or len(set(shifts_px)) != len(shifts_px) or any(s != int(s) for s in shifts_px):
        problems.append(f"stimuli.shifts_px must be different whole numbers, 0 among them; got {list(shifts_px)}")

    shapes = {image_class: np.shape(images) for image_class, images in images_by_class.items()}
    if any(len(shape) != 3 or shape[0] != len(units) for shape in shapes.values()):
        problems.append(f"needed are ({len(units)} units, y, x) images; got {shapes}")
        return problems
    for image_class, images in images_by_class.items():
        for name in ("scan", "unit_id"):
            labels = getattr(images, "coords", {}).get(name)  # plain arrays carry no labels to compare
            if labels is not None and list(labels.values.astype(str)) != list(units[name].astype(str)):
                problems.append(f"{image_class}: coordinate '{name}' is not in the order of the unit table")
        broken = ~np.isfinite(np.asarray(images, dtype=float)).all(axis=(1, 2)) & ranks.notna().to_numpy()
        for row in units[broken].itertuples():
            problems.append(f"{image_class}: image of scan {row.scan}, unit {row.unit_id} is not finite")
    return problems


def _quality_problems(manifest: pd.DataFrame, qc: pd.DataFrame, mean: float, contrast: float) -> list[str]:
    failed = manifest.join(qc.drop(columns=["image_class", "image_id"]))[~qc["ok"].to_numpy()]
    problems = []
    owner = ["image_class", "owner_scan", "owner_unit_id"]
    for (image_class, scan, unit_id), group in failed.groupby(owner, sort=False):
        # The shifts of one image differ in no pixel value, so one figure stands for them.
        ids = ", ".join(str(image_id) for image_id in group["image_id"])
        row = group.iloc[0]
        problems.append(
            f"{image_class} {ids} (scan {scan}, unit {unit_id}): mean {row['mean_cd_m2']:.3f} cd/m2 "
            f"(target {mean:g} +- {TOLERANCE:.0%}), contrast {row['contrast_cd_m2']:.3f} cd/m2 "
            f"(target {contrast:g} +- {TOLERANCE:.0%}), {row['clipped_fraction']:.1%} of pixels clipped"
        )
    return problems
