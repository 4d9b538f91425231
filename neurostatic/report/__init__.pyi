from .figures_closed_loop import confusion_figure
from .page import write_page
from .results import (
    DatasetResult,
    LoopResult,
    Results,
    ScanResult,
    StimulusResult,
    summarize_scan,
)

__all__ = [
    "DatasetResult",
    "LoopResult",
    "Results",
    "ScanResult",
    "StimulusResult",
    "confusion_figure",
    "summarize_scan",
    "write_page",
]
