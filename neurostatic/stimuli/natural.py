"""The natural image that excites each unit most: whole, or behind the mask of the unit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from neurostatic.data.frames import area_resize
from neurostatic.problems import report_problems
from neurostatic.stimuli.batches import timed_batches
from neurostatic.stimuli.contrast import match_many
from neurostatic.stimuli.masks import mask_image

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
LUMA = (0.299, 0.587, 0.114)  # red, green, blue
TRANSPARENT_PX = 128.0  # the gray that shows through transparent parts
KINDS = ("gaussian", "tight")


def best_natural_images(
    images_px: np.ndarray,
    respond_all: Callable[[np.ndarray], np.ndarray],
    batch_size: int = 1024,
    report: Callable[[str], None] = print,
) -> xr.Dataset:
    """Best natural image of every unit, of images shown as they are.

    image(unit) = argmax over images of response(image, unit)

    Args:
        images_px: (image, y, x) candidates at the size of the model, px.
        respond_all: images (k, y, x) px -> responses (k, unit).
        batch_size: images a call.

    Returns:
        Dataset as of `best_masked_natural_images`, where natural_px is the image itself and unmasked_activation
        equals activation.

    Raises:
        ValueError: no image, images that are not finite (image, y, x), or a response of another shape.

    Source: BestImageNet.
    """
    images_px = _checked_images(images_px)
    blocks = []
    for part in timed_batches(len(images_px), batch_size, "images", report):
        responses = np.asarray(respond_all(images_px[part]), dtype=float)
        if responses.ndim != 2 or len(responses) != len(images_px[part]):
            raise ValueError(f"expected ({len(images_px[part])}, unit) responses, got {responses.shape}")
        blocks.append(responses)
    responses = np.concatenate(blocks).T
    best = _best(responses, np.full(len(responses), "", dtype=object), "no image has a finite response")
    natural_px = np.full((len(responses), *images_px.shape[1:]), np.nan)
    found = best.image.values >= 0
    natural_px[found] = images_px[best.image.values[found]]
    return best.assign(natural_px=(("unit", "y", "x"), natural_px), unmasked_activation=best.activation.copy(deep=True))


def best_masked_natural_images(
    images_px: np.ndarray,
    masks: np.ndarray,
    respond_paired: Callable[[np.ndarray, np.ndarray], np.ndarray],
    image_mean_px: float,
    image_std_px: float,
    kind: str = "tight",
    batch_size: int = 1024,
    report: Callable[[str], None] = print,
) -> xr.Dataset:
    """Best natural image of every unit, of images shown behind the mask of the unit.

    kind "gaussian": shown = mask * image + (1 - mask) * image_mean_px
    kind "tight": shown = `match_stats` behind the mask, at image_mean_px and `contrast_under_mask`, so that all
    candidates of a unit have one mean and contrast
    image(unit) = argmax over images of response(shown, unit)

    Responses that are not finite lose; of equally good images the first wins. An image without contrast under the
    mask (kind "tight") cannot be given one: it is skipped. Kind "gaussian" changes no contrast, so there it scores as
    it scores.

    Args:
        images_px: (image, y, x) candidates at the size of the model, px.
        masks: (unit, y, x) in 0..1.
        respond_paired: images (k, y, x) px and positions (k,) on the unit axis of `masks` -> (k,) responses, image i
            by the unit at positions[i].
        image_mean_px, image_std_px: of the training images of the model.
        batch_size: pairs of unit and image a call.

    Returns:
        Dataset over (unit, y, x): image (unit), position of the winner in `images_px`, -1 if failed; activation
        (unit), response to it as shown; natural_px (unit, y, x), the winner as shown; unmasked_activation (unit),
        response to the winner as it was given, without mask or matching; skipped (unit), images without a finite
        response; failed (unit), the reason, or "". A unit that fails (mask not finite or empty, no image left) has
        NaN; the others are not touched.

    Raises:
        ValueError: unknown kind, no image, images or masks of another shape, or responses of another shape.

    Source: BestGaussianMaskedImageNet, BestMEIMaskedImageNet, BestTightMaskedImageNet.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} of a masked search, allowed are {', '.join(KINDS)}")
    images_px = _checked_images(images_px)
    masks = np.asarray(masks, dtype=float)
    if masks.ndim != 3 or masks.shape[1:] != images_px.shape[1:]:
        raise ValueError(f"masks must be (unit, y, x) of the size of the images {images_px.shape}, got {masks.shape}")
    n_units, n_images = len(masks), len(images_px)

    def show(unit: np.intp, images: np.ndarray) -> np.ndarray:
        """The pictures (k, y, x), NaN where one cannot be shown."""
        if kind == "gaussian":
            return mask_image(images_px[images], masks[unit], image_mean_px)
        contrast_px = contrast_under_mask(masks[unit], image_std_px)
        pictures = match_many(images_px[images], image_mean_px, contrast_px, 0, 255, masks[unit])
        pictures[(pictures == image_mean_px).all((1, 2))] = np.nan  # flat under the mask
        return pictures

    def respond(pictures: np.ndarray, positions: np.ndarray) -> np.ndarray:
        responses = np.asarray(respond_paired(pictures, positions), dtype=float)
        if responses.shape != positions.shape:
            raise ValueError(f"expected {positions.shape} responses, got {responses.shape}")
        return responses

    failed = np.full(n_units, "", dtype=object)
    failed[~(masks > 0).any((1, 2))] = "the mask is empty"
    failed[~np.isfinite(masks).all((1, 2))] = "there is no mask"
    searched = np.flatnonzero(failed == "")
    units, images = np.repeat(searched, n_images), np.tile(np.arange(n_images), len(searched))
    responses = np.full((n_units, n_images), np.nan)
    for part in timed_batches(len(units), batch_size, "pairs of unit and image", report):
        of_units, some = units[part], images[part]
        pictures = np.concatenate([show(unit, some[of_units == unit]) for unit in np.unique(of_units)])
        usable = np.isfinite(pictures).all((1, 2))
        if usable.any():
            responses[of_units[usable], some[usable]] = respond(pictures[usable], of_units[usable])

    best = _best(responses, failed, "no image has contrast under the mask and a finite response")
    winners = best.image.values
    natural_px, unmasked = np.full(masks.shape, np.nan), np.full(n_units, np.nan)
    found = np.flatnonzero(winners >= 0)
    if len(found):
        natural_px[found] = np.concatenate([show(unit, winners[[unit]]) for unit in found])
        unmasked[found] = respond(images_px[winners[found]].astype(float), found)
    return best.assign(natural_px=(("unit", "y", "x"), natural_px), unmasked_activation=("unit", unmasked))


def contrast_under_mask(mask: np.ndarray, image_std_px: float) -> float:
    """Contrast of a whole frame whose picture has the training contrast within the mask, and is gray outside.

    contrast = image_std * sqrt(sum(mask) / n_pixels)

    Args:
        mask: (y, x) in 0..1.
        image_std_px: of the training images of the model.

    Source: BestTightMaskedImageNet.
    """
    return image_std_px * np.sqrt(np.sum(mask) / np.size(mask))


def read_natural_images(folder: str | Path, height_px: int, width_px: int) -> tuple[list[str], np.ndarray]:
    """Read all pictures of a folder as gray images of one size.

    gray = 0.299 red + 0.587 green + 0.114 blue; the middle of the picture, as large as the proportions of the wanted
    size allow, is reduced by area averaging and rounded.

    Pictures of 8 or 16 bits, gray, in color, with a palette or transparent (mid gray shows through), are turned as
    their camera says. Subfolders and hidden files are not looked at.

    Args:
        folder: png, jpg, jpeg, tif, tiff or bmp files.
        height_px, width_px: wanted size, that of the stimuli.

    Returns:
        names of the files, sorted, and images (image, y, x) uint8.

    Raises:
        InputError: no such folder, no picture in it; or all pictures that cannot be read or are too small.
    """
    folder = Path(folder)
    paths = [path for path in folder.glob("*") if _is_picture(path)] if folder.is_dir() else []
    paths.sort(key=lambda path: path.name)
    what = f"natural images in {folder}"
    if not paths:
        found = "no picture in it" if folder.is_dir() else "no such folder"
        report_problems(what, [f"{found}, needed is a folder with {', '.join(SUFFIXES)} files"])
    images, problems = np.empty((len(paths), height_px, width_px), np.uint8), []
    for position, path in enumerate(paths):
        try:
            gray = _read_gray(path)
        except Exception as error:  # Pillow's decoders raise whatever they like
            problems.append(f"{path.name}: cannot be read ({error}), allowed are pictures of 8 or 16 bits")
            continue
        if gray.shape[0] < height_px or gray.shape[1] < width_px:
            size = " x ".join(map(str, gray.shape))
            problems.append(f"{path.name}: {size} px (y x x), allowed are at least {height_px} x {width_px} px")
            continue
        cut = _cut_middle(gray, height_px, width_px)
        images[position] = np.rint(area_resize(cut[None], height_px, width_px)[0])
    report_problems(what, problems)
    return [path.name for path in paths], images


def _checked_images(images_px: np.ndarray) -> np.ndarray:
    images_px = np.asarray(images_px)
    if images_px.ndim != 3 or not len(images_px):
        raise ValueError(f"candidates must be (image, y, x) with at least one image, got {images_px.shape}")
    if not np.isfinite(images_px).all():
        raise ValueError("candidates must be finite")
    return images_px


def _best(responses: np.ndarray, failed: np.ndarray, none_left_reason: str) -> xr.Dataset:
    """First finite maximum of each unit's responses (unit, image); a unit without one fails, if it has not before."""
    finite = np.isfinite(responses)
    images = np.where(finite, responses, -np.inf).argmax(1)
    none_left = ~finite.any(1)
    activation = responses[np.arange(len(responses)), images]
    failed = np.where(none_left & (failed == ""), none_left_reason, failed)
    flat = ~none_left & (np.where(finite, responses, np.inf).min(1) == activation) & (finite.sum(1) > 1)
    failed = np.where(flat & (failed == ""), "the response is the same to every image", failed)
    none_left |= flat
    return xr.Dataset(
        {
            "image": ("unit", np.where(none_left, -1, images)),
            "activation": ("unit", np.where(none_left, np.nan, activation)),
            "skipped": ("unit", (~finite).sum(1)),
            "failed": ("unit", failed.astype(str)),
        }
    )


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _read_gray(path: Path) -> np.ndarray:
    """Gray levels 0-255 (y, x), float, of a picture file."""
    with Image.open(path) as picture:
        if isinstance(picture, TiffImageFile) and picture.n_frames > 1:
            raise ValueError(f"it is a stack of {picture.n_frames} pictures")
        # Older Pillow opens a 16-bit PNG as 32-bit integers.
        sixteen_bit = picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG")
        if picture.mode in ("I", "F") and not sixteen_bit:
            raise ValueError("it has 32 bits")
        upright = ImageOps.exif_transpose(picture)
        if sixteen_bit:
            return np.asarray(upright, dtype=float) * (255 / 65535)
        *colors, alpha = np.moveaxis(np.asarray(upright.convert("RGBA"), dtype=float), -1, 0)
    # The rounding of floats must not decide what the exact sum of three equal bytes is.
    gray = np.round(sum(weight * color for weight, color in zip(LUMA, colors, strict=True)), 9)
    return mask_image(gray, alpha / 255, TRANSPARENT_PX)


def _cut_middle(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The largest part (y, x) around the middle with the proportions height : width, to a pixel."""
    n_y, n_x = image.shape
    cut_y, cut_x = min(n_y, n_x * height // width), min(n_x, n_y * width // height)
    top, left = (n_y - cut_y) // 2, (n_x - cut_x) // 2
    return image[top : top + cut_y, left : left + cut_x]
