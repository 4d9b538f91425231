"""Floor 6, the report: figures of every wing, and the page that shows them."""

from neurostatic.report.figures_closed_loop import confusion_figure
from neurostatic.report.page import write_page
from neurostatic.report.results import (
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
