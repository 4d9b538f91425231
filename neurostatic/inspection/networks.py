"""The networks that a configuration makes, before anything is trained."""

from typing import Any

from neurostatic.config import Config, read_config, read_sections
from neurostatic.config.networks import Network
from neurostatic.inspection.layout import named
from neurostatic.inspection.projects import clone_folder


def list_networks(overlays: list[str]) -> str:
    """What `config.yaml` of the clone makes under some overlays: how many models, and each network by its name.

    Args:
        overlays: config files as given to Snakemake's --configfile; a later one lies over an earlier one.

    Raises InputError that lists every problem of the configuration.
    """
    return "\n".join(_lines(read_overlays(overlays)))


def read_overlays(overlays: list[str]) -> Config:
    """The configuration of the clone under some overlays, as Snakemake lays them.

    Raises InputError that lists every problem.
    """
    from snakemake.utils import update_config  # only here: it is slow to load

    overlay: dict[str, Any] = {}
    for path in overlays:
        update_config(overlay, read_sections(path))
    return read_config(clone_folder() / "config.yaml", overlay)


def _lines(config: Config) -> list[str]:
    networks, seeds = list(config.networks.items()), config.training.seeds
    lines = [
        f"{len(networks) * len(seeds)} models of each data set: {len(networks)} networks x {len(seeds)} seeds "
        f"({', '.join(map(str, seeds))})"
    ]
    of_all = _shared([network for _, network in networks])
    lines += ["", "all networks", *_settings(of_all)]
    size = (config.preprocessing.height_px, config.preprocessing.width_px)
    for core in dict.fromkeys(network.core for _, network in networks):
        numbered = [(i, *pair) for i, pair in enumerate(networks, 1) if pair[1].core == core]
        of_core = _shared([network for _, _, network in numbered])
        title = {"cnn": "a CNN", "linear": "a linear model"}[numbered[0][2].model_type]
        lines += ["", f"{core}, {title}"]
        lines += _settings({name: value for name, value in of_core.items() if name not in {*of_all, "core"}})
        lines += [f"  {i:>3}  {name}  ({_maps(network, size)})" for i, name, network in numbered]
    return lines


def _shared(networks: list[Network]) -> dict[str, Any]:
    """Settings that are the same in all of them."""
    first, *others = (network.settings() for network in networks)
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def _settings(settings: dict[str, Any]) -> list[str]:
    return named((name, _text(value)) for name, value in settings.items())


def _maps(network: Network, size: tuple[int, int]) -> str:
    n_channels = network.depth * network.hidden_channels or 1
    return f"maps {' x '.join(map(str, (n_channels, *network.map_size(*size))))}"


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
