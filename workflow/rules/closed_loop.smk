"""Later scans of a loop -> the same cells -> confusion matrices and their tests, of each loop and of all together."""


rule match_cells:
    input:
        manifests=lambda wildcards: [
            f"results/stimuli/{CONFIG.loops[wildcards.loop].dataset}/{kind}/manifest.csv"
            for kind in CONFIG.loops[wildcards.loop].kinds
        ],
        source=lambda wildcards: f"results/datasets/{CONFIG.loops[wildcards.loop].source}.zarr.zip",
        source_verdict=lambda wildcards: f"results/scans/{CONFIG.loops[wildcards.loop].source}.json",
        later=lambda wildcards: expand("results/datasets/{scan}.zarr.zip", scan=CONFIG.loops[wildcards.loop].later),
        later_verdicts=lambda wildcards: expand("results/scans/{scan}.json", scan=CONFIG.loops[wildcards.loop].later),
    output:
        matches="results/closed_loop/{loop}/matches.csv",
        unmatched="results/closed_loop/{loop}/unmatched.csv",
    log:
        "results/logs/match_cells/{loop}.log",
    benchmark:
        "results/benchmarks/match_cells/{loop}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    resources:
        mem_mb=by_size(1500, 1),
        runtime=by_size(30, 0.05),
    params:
        loop=lambda wildcards: asdict(CONFIG.loops[wildcards.loop]),
        kinds=lambda wildcards: list(CONFIG.loops[wildcards.loop].kinds),
        later=lambda wildcards: list(CONFIG.loops[wildcards.loop].later),
        matching=asdict(CONFIG.matching),
        code=code("match_cells"),
    message:
        "matching cells of {wildcards.loop}"
    script:
        "../scripts/match_cells.py"


rule check_matches:
    input:
        source=lambda wildcards: f"results/datasets/{CONFIG.loops[wildcards.loop].source}.zarr.zip",
        oracle=lambda wildcards: expand("results/datasets/{scan}.zarr.zip", scan=CONFIG.loops[wildcards.loop].oracle),
        matches="results/closed_loop/{loop}/matches.csv",
    output:
        table="results/closed_loop/{loop}/oracle.csv",
        correlation="results/closed_loop/{loop}/oracle.zarr.zip",
    log:
        "results/logs/check_matches/{loop}.log",
    benchmark:
        "results/benchmarks/check_matches/{loop}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    resources:
        mem_mb=by_size(1500, 2),
        runtime=by_size(30, 0.05),
    params:
        scans=lambda wildcards: list(CONFIG.loops[wildcards.loop].oracle),
        statistics=asdict(CONFIG.statistics),
        code=code("check_matches"),
    message:
        "do matched cells of {wildcards.loop} respond alike?"
    script:
        "../scripts/check_matches.py"


rule compute_confusion:
    input:
        store="results/datasets/{scan}.zarr.zip",
        manifests=lambda wildcards: shown_manifests(CONFIG.loops[wildcards.loop], wildcards.scan),
        shown=shown_in,
        matches="results/closed_loop/{loop}/matches.csv",
    output:
        confusion="results/closed_loop/{loop}/scans/{scan}.csv",
        diagonal="results/closed_loop/{loop}/scans/{scan}_diagonal.csv",
        left_out="results/closed_loop/{loop}/scans/{scan}_left_out.csv",
    log:
        "results/logs/compute_confusion/{loop}/{scan}.log",
    benchmark:
        "results/benchmarks/compute_confusion/{loop}/{scan}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    resources:
        mem_mb=by_size(1500, 2),
        runtime=by_size(30, 0.05),
    params:
        source=lambda wildcards: CONFIG.loops[wildcards.loop].source,
        kinds=lambda wildcards: list(CONFIG.loops[wildcards.loop].targets[wildcards.scan]),
        code=code("compute_confusion"),
    message:
        "confusion matrix of {wildcards.scan} ({wildcards.loop})"
    script:
        "../scripts/compute_confusion.py"


rule summarize_confusion:
    input:
        scans=lambda wildcards: expand(
            "results/closed_loop/{{loop}}/scans/{scan}.csv",
            scan=CONFIG.loops[wildcards.loop].targets,
        ),
        left_out=lambda wildcards: expand(
            "results/closed_loop/{{loop}}/scans/{scan}_left_out.csv",
            scan=CONFIG.loops[wildcards.loop].targets,
        ),
        matches="results/closed_loop/{loop}/matches.csv",
        unmatched="results/closed_loop/{loop}/unmatched.csv",
    output:
        confusion="results/closed_loop/{loop}/confusion.zarr.zip",
        diagonal=report(
            "results/closed_loop/{loop}/diagonal.csv",
            caption="../report/diagonal.rst",
            category="Tests",
            labels={"loop": "{loop}", "table": "cell by cell"},
        ),
        tests=report(
            "results/closed_loop/{loop}/tests.csv",
            caption="../report/tests.rst",
            category="Tests",
            labels={"loop": "{loop}", "table": "tests"},
        ),
        left_out="results/closed_loop/{loop}/left_out.csv",
    log:
        "results/logs/summarize_confusion/{loop}.log",
    benchmark:
        "results/benchmarks/summarize_confusion/{loop}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    params:
        targets=lambda wildcards: CONFIG.loops[wildcards.loop].targets,
        statistics=asdict(CONFIG.statistics),
        code=code("summarize_confusion"),
    message:
        "confusion matrices and tests of {wildcards.loop}"
    script:
        "../scripts/summarize_confusion.py"


rule summarize_population:
    input:
        scans=[
            f"results/closed_loop/{name}/scans/{scan}.csv"
            for name, loop in CONFIG.loops.items()
            for scan in loop.targets
        ],
        verdicts=[f"results/scans/{source}.json" for source in SOURCES],
    output:
        tests=report(
            "results/closed_loop/population.csv",
            caption="../report/population.rst",
            category="Tests",
            labels={"loop": "all", "table": "tests"},
        ),
        diagonal="results/closed_loop/population_diagonal.csv",
    log:
        "results/logs/summarize_population.log",
    benchmark:
        "results/benchmarks/summarize_population.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    params:
        scans=[
            {"source": loop.source, "kinds": list(kinds)}
            for loop in CONFIG.loops.values()
            for kinds in loop.targets.values()
        ],
        statistics=asdict(CONFIG.statistics),
        code=code("summarize_population"),
    message:
        "tests over all loops"
    script:
        "../scripts/summarize_population.py"
