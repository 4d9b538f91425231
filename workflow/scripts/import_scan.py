"""Check a raw export or a Sensorium file tree, and write the verdict."""

from door import door, origin

from neurostatic.data.importers import is_sensorium, sensorium_verdict
from neurostatic.data.scans import read_scan, scan_verdict
from neurostatic.data.scans.remarks import find_remarks
from neurostatic.data.scans.stacks import require_stacks
from neurostatic.problems import InputError
from neurostatic.store import write_json

with door(snakemake):
    source, matching = snakemake.params.source, snakemake.resources.matching
    if is_sensorium(source):
        if matching != "none":
            raise InputError(
                f"{source}: a Sensorium file tree says nothing of stacks; it cannot be part of a closed loop"
            )
        verdict = sensorium_verdict(source)
    else:
        scan = read_scan(source)
        if matching != "none":
            require_stacks(scan, matching)
        verdict = scan_verdict(scan) | {"remarks": find_remarks(scan)}
    write_json({"source": source, **verdict, "provenance": origin(snakemake)}, snakemake.output[0])
    print(f"{snakemake.wildcards.scan}: every check passed")
    for remark in verdict["remarks"]:
        print(f"  - {remark}")
