"""Floor 5, the closed loop: matched cells, confusion matrices, and the tests of a loop."""

from neurostatic.closed_loop.confusion import (
    MODEL_TYPES,
    confusion_dataset,
    confusion_matrix,
    diagonal_entries,
    diagonal_targets,
    pool_confusions,
    scan_confusion,
)
from neurostatic.closed_loop.hypotheses import loop_tests
from neurostatic.closed_loop.matching import (
    best_match,
    match_oracle_correlation,
    proximity_match,
    stack_coordinates,
    stack_grid,
)

__all__ = [
    "MODEL_TYPES",
    "best_match",
    "confusion_dataset",
    "confusion_matrix",
    "diagonal_entries",
    "diagonal_targets",
    "loop_tests",
    "match_oracle_correlation",
    "pool_confusions",
    "proximity_match",
    "scan_confusion",
    "stack_coordinates",
    "stack_grid",
]
