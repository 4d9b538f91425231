"""Stimuli: most exciting images, masks, controls, and the sets of images to show, in cd/m2."""

from neurostatic.stimuli.ascent import ascend
from neurostatic.stimuli.contrast import MatchedImage, match_many, match_stats, set_contrast
from neurostatic.stimuli.diversity import diverse_ascent, diverse_images, diversity
from neurostatic.stimuli.envelopes import gaussian_masks, hull_masks
from neurostatic.stimuli.files import StimulusSet, read_set, write_set
from neurostatic.stimuli.gabors import GaborGrid, best_gabors, create_gabor, gabor_stimulus, optimal_gabors
from neurostatic.stimuli.gradients import grad_rfs, gradient_spectra, gradient_spectrum, image_gradients, point_rfs
from neurostatic.stimuli.insilico import adjust_contrast, insilico_confusion, shift_responses
from neurostatic.stimuli.luminance import (
    LuminanceMatched,
    luminance_chain,
    match_luminance,
    round_to_uint8,
    upscale,
    upscale_mask,
)
from neurostatic.stimuli.masks import erode, first_hull, mask_image, tight_mask, tight_masks
from neurostatic.stimuli.meis import Scale, make_meis, start_images
from neurostatic.stimuli.natural import best_masked_natural_images, best_natural_images, read_natural_images
from neurostatic.stimuli.projected import ascend_projected
from neurostatic.stimuli.sets import (
    mei_vs_gabor_set,
    mei_vs_natural_set,
    mei_vs_rf_set,
    quality_table,
    within_tolerance,
)
from neurostatic.stimuli.tuning import contrast_tuning

__all__ = [
    "GaborGrid",
    "LuminanceMatched",
    "MatchedImage",
    "Scale",
    "StimulusSet",
    "adjust_contrast",
    "ascend",
    "ascend_projected",
    "best_gabors",
    "best_masked_natural_images",
    "best_natural_images",
    "contrast_tuning",
    "create_gabor",
    "diverse_ascent",
    "diverse_images",
    "diversity",
    "erode",
    "first_hull",
    "gabor_stimulus",
    "gaussian_masks",
    "grad_rfs",
    "gradient_spectra",
    "gradient_spectrum",
    "hull_masks",
    "image_gradients",
    "insilico_confusion",
    "luminance_chain",
    "make_meis",
    "mask_image",
    "match_luminance",
    "match_many",
    "match_stats",
    "mei_vs_gabor_set",
    "mei_vs_natural_set",
    "mei_vs_rf_set",
    "optimal_gabors",
    "point_rfs",
    "quality_table",
    "read_natural_images",
    "read_set",
    "round_to_uint8",
    "set_contrast",
    "shift_responses",
    "start_images",
    "tight_mask",
    "tight_masks",
    "upscale",
    "upscale_mask",
    "within_tolerance",
    "write_set",
]
