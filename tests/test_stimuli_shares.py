"""Units shared out among jobs and put together again: every one once, in order."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from neurostatic.config import Meis
from neurostatic.stimuli.meis import make_meis
from neurostatic.stimuli.scale import Scale
from neurostatic.stimuli.shares import join_shares, share


@pytest.mark.parametrize("n_shares", [1, 2, 3, 7, 12])
def test_every_unit_is_in_one_share(n_shares):
    units = pd.DataFrame({"unit_id": range(10, 17)})
    shares = [share(units, number, n_shares) for number in range(1, n_shares + 1)]
    pd.testing.assert_frame_equal(pd.concat(shares), units)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("optimizer", ["published", "projected"])
def test_meis_are_the_same_in_however_many_shares(optimizer):
    """Toy units, each a patch of the image; one share is empty, and histories are of different lengths."""
    config = Meis(optimizer=optimizer, iterations=12, tuning_points=5, max_evaluations=20)
    units = pd.DataFrame({"unit_id": [3, 5, 8]})

    def respond(images, questions):
        rows = images[:, :, :8] * (1 + questions[:, :1, None])
        return (rows.sum((1, 2)) / (10 + questions[:, 0] ** 2)).tanh()

    def made(units):
        ids = units.unit_id.tolist()
        found = make_meis(respond, np.array(ids), "a", ids, Scale(120.0, 50.0), (8, 12), config, report=lambda _: None)
        return found.assign_coords(scan=("unit", ["a"] * len(ids)), unit_id=("unit", ids))

    shares = [share(units, number, 4) for number in range(1, 5)]
    joined = join_shares([made(part) if len(part) else join_shares([]) for part in shares])
    xr.testing.assert_allclose(joined, made(units), rtol=1e-4)
    assert join_shares([]).sizes["unit"] == 0
