"""The configuration: its sections, and how it is read and checked."""

from neurostatic.config.reading import check_config, read_config
from neurostatic.config.sections import (
    CORES,
    SIMULATE,
    Config,
    Loop,
    Masks,
    Matching,
    Meis,
    Network,
    Preprocessing,
    Selection,
    Simulation,
    Statistics,
    Stimuli,
    Training,
    Units,
)

__all__ = [
    "CORES",
    "SIMULATE",
    "Config",
    "Loop",
    "Masks",
    "Matching",
    "Meis",
    "Network",
    "Preprocessing",
    "Selection",
    "Simulation",
    "Statistics",
    "Stimuli",
    "Training",
    "Units",
    "check_config",
    "read_config",
]
