from .ensembles import Ensemble, all_responses, paired_responses
from .files import TrainedNetwork, load_network, read_model_file, save_bad, save_network
from .networks import CorePlusReadout

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
