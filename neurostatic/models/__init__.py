"""Networks that predict responses: core, readout, shifter, modulator."""

from neurostatic.models.ensembles import Ensemble, all_responses, paired_responses
from neurostatic.models.files import TrainedNetwork, load_network, read_model_file, save_bad, save_network
from neurostatic.models.networks import CorePlusReadout

__all__ = [
    "CorePlusReadout",
    "Ensemble",
    "TrainedNetwork",
    "all_responses",
    "load_network",
    "paired_responses",
    "read_model_file",
    "save_bad",
    "save_network",
]
