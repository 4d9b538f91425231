"""Where the units of a scan are in the structural stacks that its fields are registered to (StackCoordinates)."""

from typing import Any

import numpy as np
import pandas as pd

from neurostatic.problems import report_problems

PLACE_COLUMNS = ("unit_id", "field", "px_x", "px_y")
SIZE_COLUMNS = ("field", "px_height", "px_width", "um_height", "um_width")
AFFINE_COLUMNS = ("a11", "a21", "a31", "a12", "a22", "a32")  # column by column
OFFSET_COLUMNS = ("reg_x_um", "reg_y_um", "reg_z_um")
REGISTRATION_COLUMNS = ("stack", "field", *AFFINE_COLUMNS, *OFFSET_COLUMNS)
POSITION_COLUMNS = ("x_um", "y_um", "z_um")


def stack_coordinates(
    px_x: np.ndarray,
    px_y: np.ndarray,
    px_height: int,
    px_width: int,
    um_height: float,
    um_width: float,
    affine: np.ndarray,
    offset_um: np.ndarray,
    outside_um: float = np.nan,
) -> np.ndarray:
    """Positions of units in a stack, by the affine registration of their field (StackCoordinates).

    p = A (x, y)^T + b, with (x, y) in um from the center of the field. Upstream reads three coordinate maps
    bilinearly; of an affine map that is the map itself. A position outside the field has no place in the stack: NaN.
    Upstream put it at the origin, where it could be matched (`outside_um=0` is that variant).

    Args:
        px_x, px_y: (unit,) positions in the field in px; the first pixel's center is 0.
        px_height, px_width, um_height, um_width: size of the field, in px and um.
        affine: (3, 2) matrix A, um per um.
        offset_um: (3,) offset b of the field's center.

    Returns:
        (unit, 3) positions (x, y, z) in um.

    Raises InputError if shapes do not fit.
    """
    px_x, px_y = np.asarray(px_x, dtype=float), np.asarray(px_y, dtype=float)
    affine, offset_um = np.asarray(affine, dtype=float), np.asarray(offset_um, dtype=float)
    problems = []
    if px_x.ndim != 1 or px_x.shape != px_y.shape:
        problems.append(f"px_x and px_y must be two lists of one length, not {px_x.shape} and {px_y.shape}")
    if affine.shape != (3, 2) or offset_um.shape != (3,):
        problems.append(f"affine must be (3, 2) and offset_um (3,), not {affine.shape} and {offset_um.shape}")
    report_problems("stack coordinates", problems)
    plane = np.stack([_centered(px_x, px_width, um_width), _centered(px_y, px_height, um_height)], axis=-1)
    inside = (px_x >= 0) & (px_x <= px_width - 1) & (px_y >= 0) & (px_y <= px_height - 1)
    return np.where(inside[:, None], plane @ affine.T + offset_um, outside_um)


def register_units(units: pd.DataFrame, fields: pd.DataFrame, registrations: pd.DataFrame) -> pd.DataFrame:
    """Positions of all units in every stack that their field is registered to (StackCoordinates).

    Each by `stack_coordinates`, with the columns of A being (a11, a21, a31) and (a12, a22, a32). A unit outside its
    field has no position (NaN); a unit of a field that a stack lacks has no row there.

    Args:
        units: unit_id, field, px_x, px_y.
        fields: field, px_height, px_width, um_height, um_width.
        registrations: stack, field, a11, a21, a31, a12, a22, a32 (um per um), reg_x_um, reg_y_um, reg_z_um.

    Returns:
        stack, unit_id, x_um, y_um, z_um: stacks in the order of `registrations`, units in the order of `units`.

    Raises:
        InputError: missing columns, no registrations, a field twice in `fields` or in a stack, or a registered field
            that is not in `fields`.
    """
    problems = [
        f"column '{column}' of the {name} is missing"
        for name, table, needed in (
            ("units", units, PLACE_COLUMNS),
            ("fields", fields, SIZE_COLUMNS),
            ("registrations", registrations, REGISTRATION_COLUMNS),
        )
        for column in needed
        if column not in table.columns
    ]
    report_problems("stack coordinates", problems)
    problems += [] if len(registrations) else ["no field is registered to a stack"]
    problems += [f"field {field} has more than one size" for field in fields.field[fields.field.duplicated()].unique()]
    for row in registrations[registrations.duplicated(["stack", "field"])].itertuples():
        problems.append(f"field {row.field} is registered to stack {row.stack} more than once")
    for field in sorted(set(registrations.field) - set(fields.field)):
        problems.append(f"field {field} is registered, but its size is not known")
    report_problems("stack coordinates", problems)
    sizes = fields.set_index("field")
    placed = []
    for stack, its_fields in registrations.groupby("stack", sort=False):
        places = units[units.field.isin(its_fields.field)]
        positions_um = np.full((len(places), 3), np.nan)
        for registration in its_fields.to_dict("records"):
            here = (places.field == registration["field"]).to_numpy()
            size = sizes.loc[registration["field"]]
            positions_um[here] = stack_coordinates(
                places.px_x[here],
                places.px_y[here],
                int(size.px_height),
                int(size.px_width),
                size.um_height,
                size.um_width,
                affine_of(registration),
                np.array([registration[name] for name in OFFSET_COLUMNS]),
            )
        table = pd.DataFrame(positions_um, columns=list(POSITION_COLUMNS))
        table.insert(0, "stack", stack)
        table.insert(1, "unit_id", places.unit_id.to_numpy())
        placed.append(table)
    return pd.concat(placed, ignore_index=True)


def affine_of(registration: dict[str, Any]) -> np.ndarray:
    """(3, 2) matrix A of one registration, um per um, from its numbers a11 to a32."""
    return np.array([registration[name] for name in AFFINE_COLUMNS]).reshape(2, 3).T


def _centered(px: np.ndarray, n_px: int, size_um: float) -> np.ndarray:
    return (np.asarray(px, dtype=float) - (n_px - 1) / 2) * (size_um / n_px)
