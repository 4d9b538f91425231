"""Masks of every MEI: the smallest region that keeps the wanted part of the response, and the Gaussian envelope."""

from devices import compute_device
from door import door, origin
from ensembles import best_ensembles

from neurostatic.models.ensembles import paired_responses
from neurostatic.stimuli.envelopes import gaussian_masks
from neurostatic.stimuli.masks import tight_masks
from neurostatic.store import read_arrays, write_arrays

device = compute_device(snakemake.threads, gpu=False)
with door(snakemake, device):
    meis = read_arrays(snakemake.input.meis)
    ensembles, _ = best_ensembles(snakemake, "cnn", device)
    respond = paired_responses(ensembles, meis.scan.values.tolist(), meis.unit_id.values.tolist())
    masks = tight_masks(meis.mei.values, respond, **snakemake.params.masks)
    envelopes = gaussian_masks(meis.mei.values)
    envelopes = envelopes.rename(mask="gaussian_mask", failed="gaussian_failed")
    masks = masks.merge(envelopes).assign_coords(scan=meis.scan, unit_id=meis.unit_id)
    write_arrays(masks, snakemake.output[0], origin(snakemake, device=device))
    print(
        f"{int((masks.failed == '').sum())} masks; median reduction ratio {float(masks.reduction_ratio.median()):.3f}"
    )
