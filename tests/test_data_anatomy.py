import numpy as np
import pytest

from neurostatic.data.anatomy import area_membership, layer_membership, units_in

AREAS = ["V1", "LM", "unknown", "V1"]
LAYERS = ["L2/3", "L2/3", "L2/3", "L4"]


def test_layers():  # G18
    z_um = [-3, 0, 0.5, 100, 100.5, 370, 371, 500, 501]
    expected = ["unset", "unset", "L1", "L1", "L2/3", "L2/3", "L4", "L4", "unset"]
    assert layer_membership(z_um).tolist() == expected


def test_areas_are_read_at_the_rounded_pixel():  # G18
    labels = np.zeros((4, 6), int)
    labels[1, 2], labels[3, 5] = 1, 2
    px_x, px_y = np.array([2.4, 1.5, 2.0, 5.0, 0.0, 6.0]), np.array([1.0, 0.5, 2.0, 3.2, 0.0, 3.0])
    areas = area_membership(px_x, px_y, labels, ("V1", "LM"))
    assert areas.tolist() == ["V1", "V1", "unknown", "LM", "unknown", "unknown"]
    swapped = area_membership(px_y, px_x, labels, ("V1", "LM"))  # x and y confused
    assert swapped.tolist() != areas.tolist()


@pytest.mark.parametrize(
    ("area", "layer", "chosen"),
    [
        ("V1", "L2/3", [0]),
        ("all", "L2/3", [0, 1]),
        ("all-unknown", "L2/3", [0, 1]),
        ("all+unknown", "L2/3", [0, 1, 2]),
        ("AL", "L2/3", []),
        ("V1+LM", "all", [0, 1, 3]),
        ("all", "L2/3+L4", [0, 1, 3]),
        ("V1", "all-unset", [0, 3]),
    ],
)
def test_units_in(area, layer, chosen):  # G18
    assert units_in(AREAS, LAYERS, area, layer).tolist() == chosen


def test_unset_layer():
    assert units_in(["V1", "V1"], ["unset", "L4"], "V1", "all-unset").tolist() == [1]
    assert units_in(["V1", "V1"], ["unset", "L4"], "V1", "all").tolist() == [0, 1]
