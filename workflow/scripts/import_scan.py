"""Check a raw export or a Sensorium file tree, and write the verdict."""

from door import door, origin

from neurostatic.data.importers import is_sensorium, sensorium_verdict
from neurostatic.data.scans import read_scan, scan_verdict
from neurostatic.data.scans.remarks import find_remarks
from neurostatic.store import write_json

with door(snakemake):
    source = snakemake.params.source
    if is_sensorium(source):
        verdict = sensorium_verdict(source)
    else:
        scan = read_scan(source)
        verdict = scan_verdict(scan) | {"remarks": find_remarks(scan)}
    write_json({"source": source, **verdict, "provenance": origin(snakemake)}, snakemake.output[0])
    print(f"{snakemake.wildcards.scan}: every check passed")
    for remark in verdict.get("remarks", ()):
        print(f"  - {remark}")
