"""Which images the display should show next: the list of the chosen stimulus set (TargetStaticGroupId)."""

from door import door, origin

from neurostatic.store import read_table, write_table

with door(snakemake):
    target = snakemake.params.target
    manifest = read_table(snakemake.input[0], ("file", "sha256"))
    manifest.insert(0, "target", target)
    manifest["file"] = target + "/" + manifest["file"]  # from the folder of this list
    write_table(manifest, snakemake.output[0], origin(snakemake))
    print(f"{target}: {len(manifest)} images")
