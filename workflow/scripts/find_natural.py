"""The natural image that drives each unit most: as it is, behind the MEI's envelope, behind its tight mask."""

import numpy as np
import xarray as xr
from devices import compute_device
from door import door, origin
from ensembles import best_ensembles

from neurostatic.data.frames import area_resize
from neurostatic.data.scans.shown import read_shown_images
from neurostatic.models.ensembles import all_responses, paired_responses
from neurostatic.stimuli.natural import best_masked_natural_images, best_natural_images, read_natural_images
from neurostatic.store import open_arrays, read_arrays, write_arrays

MASKS = {"gaussian": "gaussian_mask", "tight": "tight_mask"}

device = compute_device(snakemake.threads)
with door(snakemake, device):
    masks = read_arrays(snakemake.input.masks)
    ensembles, _ = best_ensembles(snakemake, "cnn", device)
    kinds, folder = snakemake.params.kinds, snakemake.params.folder
    height_px, width_px = snakemake.params.shown_px
    if folder:
        names, shown = read_natural_images(folder, height_px, width_px)
        print(f"{folder}: {len(names)} images")
    exports, stores = (
        dict(zip(snakemake.params.scans, paths, strict=True))
        for paths in (snakemake.params.exports, snakemake.input.stores)
    )
    parts = []
    for scan in dict.fromkeys(masks.scan.values.tolist()):  # in the order of the units
        export, store = exports[scan], stores[scan]
        of_scan = masks.isel(unit=masks.scan.values == scan)
        units = [scan] * of_scan.sizes["unit"], of_scan.unit_id.values.tolist()
        data = open_arrays(store)
        if folder:
            images = area_resize(shown, *data.images.shape[-2:])
        else:
            _, first = np.unique(data.image_index.values, return_index=True)  # a trial of each image
            classes, ids = data.image_class.values[first], data.image_id.values[first]
            names = [f"{image_class} {image_id}" for image_class, image_id in zip(classes, ids, strict=True)]
            images = data.images.values
        found = []
        for kind in kinds:
            print(f"{scan}: {kind}, {len(images)} images, {len(units[0])} units")
            if kind == "unmasked":
                best = best_natural_images(images, all_responses(ensembles, *units))
            else:
                scale = ensembles[scan].image_mean_px, ensembles[scan].image_std_px
                respond = paired_responses(ensembles, *units)
                best = best_masked_natural_images(images, of_scan[MASKS[kind]].values, respond, *scale, kind)
            best["name"] = ("unit", [names[i] if i >= 0 else "" for i in best.image.values])
            found.append(best)
        best = xr.concat(found, xr.Variable("kind", list(kinds)), join="exact")
        if snakemake.params.shown and (folder or export):  # in the size that is shown, for the stimuli
            winners = best.image.sel(kind="tight").values.clip(0)
            pictures = (
                shown[winners] if folder else read_shown_images(export, classes, ids, height_px, width_px, winners)
            )
            best["shown_px"] = (("unit", "shown_y", "shown_x"), pictures)
        parts.append(best.assign_coords(scan=of_scan.scan, unit_id=of_scan.unit_id))
    natural = xr.concat(parts, "unit")
    write_arrays(natural, snakemake.output[0], origin(snakemake, device=device))
