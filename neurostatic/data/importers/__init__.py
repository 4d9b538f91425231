"""Public recordings in other file layouts, read as data sets."""

from neurostatic.data.importers.sensorium import is_sensorium, read_sensorium, sensorium_verdict

__all__ = ["is_sensorium", "read_sensorium", "sensorium_verdict"]
