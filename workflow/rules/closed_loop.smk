"""Scans in which the stimuli were shown -> the same cells -> confusion matrices and their tests."""


rule match_cells:
    input:
        manifests=shown_manifests,
        source_verdict=lambda wildcards: f"results/scans/{CONFIG.loops[wildcards.loop].source}.json",
        target_verdicts=lambda wildcards: expand("results/scans/{scan}.json", scan=CONFIG.loops[wildcards.loop].targets),
        targets=lambda wildcards: expand(
            "results/datasets/{scan}.zarr.zip",
            scan=CONFIG.loops[wildcards.loop].targets,
        ),
    output:
        "results/closed_loop/{loop}/matches.csv",
    log:
        "results/logs/match_cells/{loop}.log",
    benchmark:
        "results/benchmarks/match_cells/{loop}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    params:
        source=lambda wildcards: CONFIG.loops[wildcards.loop].source,
        targets=lambda wildcards: list(CONFIG.loops[wildcards.loop].targets),
        matching=asdict(CONFIG.matching),
        code=code("match_cells"),
    message:
        "matching cells of {wildcards.loop}"
    script:
        "../scripts/match_cells.py"


rule compute_confusion:
    input:
        store="results/datasets/{scan}.zarr.zip",
        manifest=lambda wildcards: shown_manifest(CONFIG.loops[wildcards.loop], wildcards.scan),
        shown=shown_in,
        matches="results/closed_loop/{loop}/matches.csv",
    output:
        "results/closed_loop/{loop}/scans/{scan}.csv",
    log:
        "results/logs/compute_confusion/{loop}/{scan}.log",
    benchmark:
        "results/benchmarks/compute_confusion/{loop}/{scan}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    params:
        source=lambda wildcards: CONFIG.loops[wildcards.loop].source,
        code=code("compute_confusion"),
    message:
        "confusion matrix of {wildcards.scan} ({wildcards.loop})"
    script:
        "../scripts/compute_confusion.py"


rule summarize_confusion:
    input:
        lambda wildcards: expand(
            "results/closed_loop/{{loop}}/scans/{scan}.csv",
            scan=CONFIG.loops[wildcards.loop].targets,
        ),
    output:
        confusion="results/closed_loop/{loop}/confusion.zarr.zip",
        diagonal="results/closed_loop/{loop}/diagonal.csv",
        tests="results/closed_loop/{loop}/tests.csv",
    log:
        "results/logs/summarize_confusion/{loop}.log",
    benchmark:
        "results/benchmarks/summarize_confusion/{loop}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    params:
        kinds=lambda wildcards: list(CONFIG.loops[wildcards.loop].targets.values()),
        statistics=asdict(CONFIG.statistics),
        code=code("summarize_confusion"),
    message:
        "confusion matrices and tests of {wildcards.loop}"
    script:
        "../scripts/summarize_confusion.py"
