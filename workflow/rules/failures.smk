"""At the end of a run that failed: the last lines of every failed job's log, which may be far above or on a cluster."""

import re

LAST_LINES = 12


def last_lines(snakemake_logs):
    """The logs of failed jobs as Snakemake's own log names them, each with the end of what it says.

    On a cluster a job has two, its own and SLURM's, which tells why a job did not even begin.
    """
    said = "\n".join(Path(file).read_text() for file in snakemake_logs)
    for named in dict.fromkeys(re.findall(r"^ *log: (.+) \(check log", said, re.M)):
        written = [path for path in map(Path, named.split(", ")) if path.is_file()]
        for path in written[:1]:
            lines = path.read_text().strip().splitlines()[-LAST_LINES:]
            yield "\n".join([f"{path}:", *(f"    {line}" for line in lines), ""])


onerror:
    print("\n" + "\n".join(last_lines(log)), file=sys.stderr)
