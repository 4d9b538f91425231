"""Stimuli: most exciting images, masks, and the sets of images to show, in cd/m2."""

from neurostatic.stimuli.contrast import (
    LuminanceMatched,
    MatchedImage,
    area_downscale,
    luminance_chain,
    match_stats,
    round_to_uint8,
    set_contrast,
    upscale,
)
from neurostatic.stimuli.masks import erode, first_hull, mask_image, tight_mask, tight_masks
from neurostatic.stimuli.meis import contrast_tuning, make_meis, start_images
from neurostatic.stimuli.sets import (
    STIMULUS_SETS,
    StimulusSet,
    mei_vs_rf_set,
    quality_table,
    read_set,
    within_tolerance,
    write_set,
)

__all__ = [
    "STIMULUS_SETS",
    "LuminanceMatched",
    "MatchedImage",
    "StimulusSet",
    "area_downscale",
    "contrast_tuning",
    "erode",
    "first_hull",
    "luminance_chain",
    "make_meis",
    "mask_image",
    "match_stats",
    "mei_vs_rf_set",
    "quality_table",
    "read_set",
    "round_to_uint8",
    "set_contrast",
    "start_images",
    "tight_mask",
    "tight_masks",
    "upscale",
    "within_tolerance",
    "write_set",
]
