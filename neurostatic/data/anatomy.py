"""Where a unit is: its brain area, its layer, and the choice of units by both."""

import numpy as np
import pandas as pd

UNKNOWN_AREA = "unknown"
UNSET_LAYER = "unset"
LAYER_DEPTHS_UM = {"L1": (0.0, 100.0), "L2/3": (100.0, 370.0), "L4": (370.0, 500.0)}


def area_membership(px_x: np.ndarray, px_y: np.ndarray, labels: np.ndarray, area_names: tuple[str, ...]) -> np.ndarray:
    """The area painted on a field at each unit's pixel (AreaMembership).

    Args:
        px_x, px_y: (unit,) position in the field in px, the center of the first pixel is 0; rounded to the pixel.
        labels: (px_height, px_width) 0 = no area, k = the k-th name.
        area_names: names of the labels 1, 2, ...

    Returns:
        (unit,) text, 'unknown' where no area is painted and outside the field.
    """
    x = np.floor(np.asarray(px_x, dtype=float) + 0.5).astype(int)
    y = np.floor(np.asarray(px_y, dtype=float) + 0.5).astype(int)
    height, width = labels.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    label = np.where(inside, labels[y.clip(0, height - 1), x.clip(0, width - 1)], 0)
    return np.array([UNKNOWN_AREA, *area_names])[label]


def layer_membership(z_um: np.ndarray) -> np.ndarray:
    """The layer at a depth below the surface, start < z <= end (LayerMembership).

    L1 0-100, L2/3 100-370, L4 370-500 um; 'unset' elsewhere.

    Args:
        z_um: (unit,) depth of each unit's field below the cortical surface, positive downwards.
    """
    z_um = np.asarray(z_um, dtype=float)
    layer = np.full(z_um.shape, UNSET_LAYER, dtype="<U5")
    for name, (start_um, end_um) in LAYER_DEPTHS_UM.items():
        layer[(z_um > start_um) & (z_um <= end_um)] = name
    return layer


def layers_of(units: pd.DataFrame, fields: pd.DataFrame) -> np.ndarray:
    """The layer of each unit (unit,): column layer where an export has it, else by the depth of the unit's field.

    Args:
        units: field, and layer if it is known; fields: field, z_um.
    """
    if "layer" in units:
        return units["layer"].replace("", UNSET_LAYER).to_numpy()
    return layer_membership(units["field"].map(fields.set_index("field")["z_um"]).to_numpy())


def units_in(brain_area: np.ndarray, layer: np.ndarray, wanted_area: str, wanted_layer: str) -> np.ndarray:
    """Units of the wanted areas and layers (DataConfig, area and layer groups).

    Args:
        brain_area, layer: (unit,) text.
        wanted_area: 'all' (every area but 'unknown'; 'all-unknown' is the same), 'all+unknown' (every unit), or
            names joined by '+', such as 'V1+LM'.
        wanted_layer: 'all' (every unit), 'all-unset' (every layer but 'unset'), or names joined by '+'.

    Returns:
        (chosen,) positions of the units, ascending.
    """
    brain_area, layer = np.asarray(brain_area, dtype=str), np.asarray(layer, dtype=str)
    if wanted_area in ("all", "all-unknown"):
        in_area = brain_area != UNKNOWN_AREA
    elif wanted_area == "all+unknown":
        in_area = np.ones(len(brain_area), dtype=bool)
    else:
        in_area = np.isin(brain_area, wanted_area.split("+"))
    if wanted_layer == "all":
        in_layer = np.ones(len(layer), dtype=bool)
    elif wanted_layer == "all-unset":
        in_layer = layer != UNSET_LAYER
    else:
        in_layer = np.isin(layer, wanted_layer.split("+"))
    return np.flatnonzero(in_area & in_layer)
