"""Which trained networks answer as one: all seeds of the best network of a type."""

from pathlib import Path

from neurostatic.models.files import TrainedNetwork, load_network
from neurostatic.store import BadConfig, read_table


def best_network(best_path: str, model_paths: list[str], model_type: str, device: str) -> list[TrainedNetwork]:
    """Load every seed of the network that was found best among those of a type, "cnn" or "linear"."""
    best = read_table(best_path, ("model_type", "network"))
    name = best.network[best.model_type == model_type].iloc[0]
    members = []
    for path in model_paths:
        if Path(path).parent.name == name:
            try:
                members.append(load_network(path, device))
            except BadConfig as error:
                print(f"left out: {error}")
    return members
