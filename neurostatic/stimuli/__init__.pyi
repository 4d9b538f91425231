from .ascent import ascend
from .contrast import MatchedImage, match_many, match_stats
from .diversity import diverse_ascent, diverse_images
from .envelopes import gaussian_masks, hull_masks
from .files import StimulusSet, read_set, write_set
from .gabors import best_gabors, candidates, create_gabor, gabor_stimulus, optimal_gabors
from .gradients import grad_rfs, gradient_spectra, gradient_spectrum, image_gradients, point_rfs
from .insilico import adjust_contrast, insilico_confusion, shift_responses
from .luminance import (
    LuminanceMatched,
    luminance_chain,
    match_luminance,
    round_to_uint8,
    upscale,
    upscale_mask,
)
from .masks import erode, first_hull, mask_image, tight_masks
from .meis import make_meis, start_images
from .natural import best_masked_natural_images, best_natural_images, read_natural_images
from .projected import ascend_projected
from .scale import Scale
from .sets import (
    mei_vs_gabor_set,
    mei_vs_natural_set,
    mei_vs_rf_set,
    quality_table,
    within_tolerance,
)
from .tuning import contrast_tuning

__all__ = [
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
    "candidates",
    "contrast_tuning",
    "create_gabor",
    "diverse_ascent",
    "diverse_images",
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
    "shift_responses",
    "start_images",
    "tight_masks",
    "upscale",
    "upscale_mask",
    "within_tolerance",
    "write_set",
]
