"""The name that the published database gives to a data configuration, to find its models again."""

import hashlib

from neurostatic.config import DataConfig
from neurostatic.data.datasets.normalization import FIELDS


def data_hash(config: DataConfig, data_type: str = "CorrectedAreaLayer") -> str:
    """MD5 of the values of a DataConfig, joined in the order of the names of their columns (data_hash).

    The columns are brain_area, data_type, exclude, layer, normalize, normalize_per_image, stats_source and
    stimulus_type. Names and separators are not part of it, so that different settings may share one; provenance
    carries a SHA-256 of all settings.

    Args:
        data_type: the table, such as CorrectedAreaLayer or MultipleAreasOneLayer.
    """
    values = {
        "brain_area": config.brain_area,
        "data_type": data_type,
        "exclude": ",".join(name for name in FIELDS if name in config.exclude),
        "layer": config.layer,
        "normalize": True,
        "normalize_per_image": config.normalize_per_image,
        "stats_source": config.stats_source,
        "stimulus_type": config.stimulus_type,
    }
    return hashlib.md5("".join(str(values[name]) for name in sorted(values)).encode()).hexdigest()
