"""Registrations of a recording to the structural stacks, each with an error of its own."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from neurostatic.config import Simulation
from neurostatic.simulation.recording import Recording

AXES = ("x", "y", "z")
POSITIONS = [f"{axis}_um" for axis in AXES]


@dataclass(frozen=True)
class Registration:
    """Where the somata are in each stack: position + error of the whole field + error of the cell.

    Attributes:
        table: columns of stack_coordinates.csv; empty positions are outside the stack.
        field_error_um: (stack, axis). cell_error_um: (stack, cell, axis), of the cells without the dead soma.
        outside: (stack, cell) bool.
    """

    table: pd.DataFrame
    field_error_um: np.ndarray
    cell_error_um: np.ndarray
    outside: np.ndarray


def register_stacks(
    recording: Recording, dead: pd.Series, config: Simulation, rng: np.random.Generator, own: np.random.Generator
) -> Registration:
    """Put every soma into every stack; in each, one cell lies outside.

    Args:
        dead: row of units.csv of the soma that is no cell; it is registered like the others.
        rng: of the recording; own: of what concerns the dead soma and the cells outside.
    """
    true_um = recording.cells[POSITIONS].to_numpy()
    n_cells = len(true_um)
    field_error_um = np.empty((config.n_stacks, 3))
    cell_error_um = np.empty((config.n_stacks, n_cells, 3))
    outside = np.zeros((config.n_stacks, n_cells), bool)
    tables = []
    for stack in range(config.n_stacks):
        field_error_um[stack] = rng.normal(0, config.stack_error_um, 3)
        cell_error_um[stack] = rng.normal(0, config.stack_error_um, true_um.shape)
        placed_um = true_um + field_error_um[stack] + cell_error_um[stack]
        outside[stack, own.integers(n_cells)] = True
        placed_um[outside[stack]] = np.nan
        dead_um = dead[["um_x", "um_y", "um_z"]].to_numpy(float) + field_error_um[stack]
        dead_um += own.normal(0, config.stack_error_um, 3)
        table = pd.DataFrame(np.vstack([placed_um, dead_um]), columns=POSITIONS)
        table.insert(0, "stack", f"stack-{stack + 1}")
        table.insert(1, "unit_id", [*recording.units.unit_id[:n_cells], dead.unit_id])
        tables.append(table)
    return Registration(pd.concat(tables, ignore_index=True), field_error_um, cell_error_um, outside)
