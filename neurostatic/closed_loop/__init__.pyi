from .agreement import match_agreement, match_oracle_correlation
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
from .diagonal import diagonal_entries, diagonal_targets, scan_diagonal
from .doubt import fit_displacements, match_doubt
from .hypotheses import loop_tests
from .matching import best_match, proximity_match
from .structure import best_structure_match, structure_match

__all__ = [
    "MODEL_TYPES",
    "NothingToCompareError",
    "best_match",
    "best_structure_match",
    "cells_without_scale",
    "confusion_dataset",
    "confusion_matrix",
    "diagonal_entries",
    "diagonal_targets",
    "fit_displacements",
    "loop_tests",
    "match_agreement",
    "match_cells",
    "match_doubt",
    "match_oracle_correlation",
    "one_to_one_match",
    "pool_confusions",
    "proximity_match",
    "scan_confusion",
    "scan_diagonal",
    "set_confusion",
    "structure_match",
]
