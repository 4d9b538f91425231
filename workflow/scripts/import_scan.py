"""Check a raw export or a Sensorium file tree, and write the verdict."""

from door import door, origin

from neurostatic.data.importers import is_sensorium, sensorium_verdict
from neurostatic.data.scans import read_scan, scan_verdict
from neurostatic.store import write_json

with door(snakemake):
    source = snakemake.params.source
    verdict = sensorium_verdict(source) if is_sensorium(source) else scan_verdict(read_scan(source))
    write_json({"source": source, **verdict, "provenance": origin(snakemake)}, snakemake.output[0])
    print(f"{snakemake.wildcards.scan}: every check passed")
