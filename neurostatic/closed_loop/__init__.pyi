from .agreement import image_slip, match_agreement, match_oracle_correlation
from .assignment import one_to_one_match
from .cells import match_cells
from .confusion import (
    MODEL_TYPES,
    NothingToCompareError,
    cells_without_scale,
    confusion_dataset,
    confusion_matrix,
    pool_confusions,
    scan_confusion,
    set_confusion,
)
from .diagonal import diagonal_entries, diagonal_targets, pair_of, population_diagonal, scan_diagonal
from .doubt import DisplacementModel, fit_displacements, match_doubt
from .hypotheses import loop_tests, untested_units
from .matching import best_match, proximity_match
from .structure import best_structure_match, structure_match

__all__ = [
    "MODEL_TYPES",
    "DisplacementModel",
    "NothingToCompareError",
    "best_match",
    "best_structure_match",
    "cells_without_scale",
    "confusion_dataset",
    "confusion_matrix",
    "diagonal_entries",
    "diagonal_targets",
    "fit_displacements",
    "image_slip",
    "loop_tests",
    "match_agreement",
    "match_cells",
    "match_doubt",
    "match_oracle_correlation",
    "one_to_one_match",
    "pair_of",
    "pool_confusions",
    "population_diagonal",
    "proximity_match",
    "scan_confusion",
    "scan_diagonal",
    "set_confusion",
    "structure_match",
    "untested_units",
]
