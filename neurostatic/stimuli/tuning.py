"""How a unit's response to its image grows with the contrast of the image."""

from collections.abc import Callable

import numpy as np


def contrast_tuning(
    image_px: np.ndarray,
    respond_px: Callable[[np.ndarray], np.ndarray],
    n_points: int = 1000,
    batch_size: int = 250,
) -> dict[str, np.ndarray | float]:
    """Response to an image at every contrast from nearly none to the most that needs no clipping.

    gain = 0.01 / std .. min((255 - mean) / max d, mean / -min d), d = image - mean; each image clipped to 0-255.

    Args:
        image_px: (y, x).
        respond_px: images (k, y, x) px -> responses (k,).

    Returns:
        contrast and response (gain,); monotonic, max_activation, max_contrast (at the first maximum), sat_contrast
        (the largest), lim_contrast = 255 / (max d - min d) * std.

    Raises ValueError for a flat image.

    Source: MEI (contrast_tuning).
    """
    mean = image_px.mean()
    deviation = image_px - mean
    base = image_px.std()
    if not base > 0:
        raise ValueError("contrast_tuning: a flat image has no contrast to change")
    largest = min((255 - mean) / deviation.max(), -mean / deviation.min())
    gains = np.linspace(0.01 / base, largest, n_points)
    contrasts, responses = [], []
    for part in np.array_split(gains, -(-len(gains) // batch_size)):
        images = (deviation * part[:, None, None] + mean).clip(0, 255)
        contrasts.append(images.std((1, 2)))
        responses.append(respond_px(images))
    contrast, response = np.concatenate(contrasts), np.concatenate(responses)
    return {
        "contrast": contrast,
        "response": response,
        "monotonic": bool((np.diff(response) >= 0).all()),
        "max_activation": response.max(),
        "max_contrast": contrast[response.argmax()],
        "sat_contrast": contrast.max(),
        "lim_contrast": 255 / (deviation.max() - deviation.min()) * base,
    }
