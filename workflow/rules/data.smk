"""Raw scan exports (of a lab, or of the virtual mouse) -> checked scans -> data sets -> oracle and ceilings."""


rule simulate_scan:
    input:
        shown_stimuli,
    output:
        export=expand("results/simulation/{{scan}}/{file}", file=SIMULATED_FORM),
        truth="results/simulation/{scan}.truth.zarr.zip",
    log:
        "results/logs/simulate_scan/{scan}.log",
    benchmark:
        "results/benchmarks/simulate_scan/{scan}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    resources:
        mem_mb=by_size(3000, 1),
        runtime=by_size(60),
    params:
        simulation=asdict(CONFIG.simulation),
        mouse=lambda wildcards: mouse_and_day(wildcards.scan)[0],
        day=lambda wildcards: mouse_and_day(wildcards.scan)[1],
        oracle=lambda wildcards: wildcards.scan in ORACLE_SCANS,
        code=code("simulate_scan"),
    message:
        "virtual mouse: recording {wildcards.scan}"
    script:
        "../scripts/simulate_scan.py"


rule import_scan:
    input:
        scan_files,
    output:
        "results/scans/{scan}.json",
    log:
        "results/logs/import_scan/{scan}.log",
    benchmark:
        "results/benchmarks/import_scan/{scan}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    resources:
        mem_mb=by_size(1500, 0.15),
        runtime=by_size(30, 0.01),
        # No param: a loop that is added later does not make its source, and all models of it, run again.
        matching=lambda wildcards: CONFIG.matching.method if wildcards.scan in LOOP_SCANS else "none",
    params:
        source=scan_source,
        code=code("import_scan"),
    message:
        "checking {wildcards.scan}"
    script:
        "../scripts/import_scan.py"


rule build_dataset:
    input:
        verdict="results/scans/{scan}.json",
        files=scan_files,
    output:
        "results/datasets/{scan}.zarr.zip",
    log:
        "results/logs/build_dataset/{scan}.log",
    benchmark:
        "results/benchmarks/build_dataset/{scan}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    resources:
        mem_mb=by_size(1500, 0.15),
        runtime=by_size(30, 0.01),
    params:
        source=scan_source,
        preprocessing=asdict(CONFIG.preprocessing),
        code=code("build_dataset"),
    message:
        "data set of {wildcards.scan}"
    script:
        "../scripts/build_dataset.py"


rule measure_reliability:
    input:
        scan_stores,
    output:
        "results/reliability/{dataset}.csv",
    log:
        "results/logs/measure_reliability/{dataset}.log",
    benchmark:
        "results/benchmarks/measure_reliability/{dataset}.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    resources:
        mem_mb=by_size(1500, 2),
        runtime=by_size(30, 0.05),
    params:
        scans=lambda wildcards: list(CONFIG.datasets[wildcards.dataset]),
        data_config=asdict(CONFIG.data_config),
        code=code("measure_reliability"),
    message:
        "oracle and ceilings of {wildcards.dataset}"
    script:
        "../scripts/measure_reliability.py"
