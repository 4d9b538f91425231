"""States of the mouse in which images are made: none, mean or given, in recorded units."""

import pytest
import torch

from neurostatic.fitting.states import mouse_states

NORMALIZATION = {
    "image_mean": 110.0,
    "image_std": 50.0,
    "response_factor": [1.0],
    "behavior_factor": [0.1, 2.0, 0.5],
    "behavior_mean": [30.0, 0.0, 4.0],
    "eye_mean": [100.0, 80.0],
    "eye_std": [4.0, 2.0],
    "mean_eye": [0.0, 0.0],
}


def test_every_eye_with_every_behavior():
    states = mouse_states(NORMALIZATION, ("none", "mean", "104 76"), ("mean", "40 0.5 10"))
    eyes = [None if eye is None else eye.tolist() for eye, _ in states]
    behaviors = [behavior.tolist() for _, behavior in states]
    assert eyes == [None, None, [[0, 0]], [[0, 0]], [[1, -2]], [[1, -2]]]
    assert behaviors == [[[3, 0, 2]], [[4, 1, 5]]] * 3
    assert states[2][0].dtype == torch.float32
    assert mouse_states(NORMALIZATION, ("mean",), ("none",))[0][1] is None


@pytest.mark.parametrize("text", ["", "Mean", "1", "1 2 3", "1 x", "1 inf", "1 nan"])
def test_other_states_are_refused(text):
    with pytest.raises(ValueError, match=r"is not none, mean or 2 numbers \(pupil_x pupil_y\)"):
        mouse_states(NORMALIZATION, (text,), ("none",))
