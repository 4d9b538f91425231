from .figures_closed_loop import confusion_figure
from .page import write_page
from .reading import read_results
from .results import DatasetResult, LoopResult, PopulationResult, Results, ScanResult, StimulusResult

__all__ = [
    "DatasetResult",
    "LoopResult",
    "PopulationResult",
    "Results",
    "ScanResult",
    "StimulusResult",
    "confusion_figure",
    "read_results",
    "write_page",
]
