"""The states of the mouse in which images are made, as tensors that a network takes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from neurostatic.config.states import BEHAVIOR, EYE, parse_state
from neurostatic.data.datasets.normalization import Normalization
from neurostatic.models.ensembles import State


def mouse_states(normalization: dict[str, Any], eyes: tuple[str, ...], behaviors: tuple[str, ...]) -> list[State]:
    """Every eye with every behavior, behaviors running fastest.

    Args:
        normalization: of a scan, as a model's file has it.
        eyes: 'none' (looks straight ahead, no shift), 'mean' (of the training trials) or 'x y' in px of the camera.
        behaviors: 'none' (a gain of one), 'mean' or 'pupil_radius dpupil treadmill' in px, px/s, cm/s.

    Returns:
        Pairs of a normalized eye (1, 2) and a normalized behavior (1, 3), each None for 'none'.

    Raises ValueError for anything else.
    """
    normalizer = Normalization.from_dict(normalization)

    def tensor(
        text: str, channels: tuple[str, ...], normalize: Callable[[np.ndarray], np.ndarray], mean: np.ndarray
    ) -> torch.Tensor | None:
        given = parse_state(text, channels)
        if given == "none":
            return None
        values = mean[None] if given == "mean" else normalize(np.array([given]))
        return torch.as_tensor(np.asarray(values), dtype=torch.float32)

    return [
        (
            tensor(eye, EYE, normalizer.eye, normalizer.mean_eye),
            tensor(behavior, BEHAVIOR, normalizer.behavior, normalizer.mean_behavior),
        )
        for eye in eyes
        for behavior in behaviors
    ]
