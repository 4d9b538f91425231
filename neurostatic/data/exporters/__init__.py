"""Data sets in the file layouts of other people's tools."""

from neurostatic.data.exporters.sensorium import write_sensorium

__all__ = ["write_sensorium"]
