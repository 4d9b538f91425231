"""Everything found -> compared with the truth where there is one -> one page."""


rule compare_truth:
    input:
        truths=[f"results/simulation/{scan}.truth.zarr.zip" for loop in TRUE_LOOPS.values() for scan in loop.scans],
        stores=[f"results/datasets/{loop.source}.zarr.zip" for loop in TRUE_LOOPS.values()],
        selection=[f"results/selection/{loop.dataset}.csv" for loop in TRUE_LOOPS.values()],
        meis=[
            f"results/meis/{loop.dataset}/{model_type}.zarr.zip"
            for loop in TRUE_LOOPS.values()
            for model_type in ("cnn", "linear")
        ],
        matches=[f"results/closed_loop/{name}/matches.csv" for name in TRUE_LOOPS],
        manifests=[
            f"results/stimuli/{loop.dataset}/{kind}/manifest.csv"
            for loop in TRUE_LOOPS.values()
            for kind in loop.kinds
        ],
    output:
        recovery="results/truth/recovery.csv",
        ceiling="results/truth/ceiling.csv",
        stimuli="results/truth/stimuli.csv",
    log:
        "results/logs/compare_truth.log",
    benchmark:
        "results/benchmarks/compare_truth.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    resources:
        mem_mb=by_size(2000, 2),
        runtime=by_size(60, 0.05),
    params:
        loops=[
            {"name": name, "source": loop.source, "dataset": loop.dataset, "kinds": loop.kinds}
            for name, loop in TRUE_LOOPS.items()
        ],
        code=code("compare_truth"),
    message:
        "comparing with the truth"
    script:
        "../scripts/compare_truth.py"


rule write_report:
    input:
        verdicts=expand("results/scans/{scan}.json", scan=CONFIG.scans),
        stores=expand("results/datasets/{scan}.zarr.zip", scan=CONFIG.scans),
        reliability=expand("results/reliability/{dataset}.csv", dataset=CONFIG.datasets),
        evaluation=expand("results/evaluation/{dataset}.csv", dataset=CONFIG.datasets),
        selection=expand("results/selection/{dataset}{table}.csv", dataset=CONFIG.datasets, table=["", "_models"]),
        scores=[
            f"results/models/{dataset}/{network}/{seed}{table}.csv"
            for dataset in CONFIG.datasets
            for network in NETWORKS
            for seed in CONFIG.training.seeds
            for table in ("", "_history")
        ],
        meis=expand(
            "results/meis/{dataset}/{model_type}.zarr.zip",
            dataset=CONFIG.datasets,
            model_type=["cnn", "linear"],
        ),
        masks=expand("results/masks/{dataset}.zarr.zip", dataset=CONFIG.datasets),
        natural=expand("results/natural/{dataset}.zarr.zip", dataset=CONFIG.datasets),
        probes=expand("results/probes/{dataset}.zarr.zip", dataset=CONFIG.datasets if CONFIG.probes.parts else []),
        gabors=expand(
            "results/gabors/{dataset}.zarr.zip",
            dataset=STIMULATED if "mei_vs_gabor" in CONFIG.stimuli.sets else [],
        ),
        stimuli=expand(
            "results/stimuli/{dataset}/{kind}/{table}.csv",
            dataset=STIMULATED,
            kind=CONFIG.stimuli.sets,
            table=["manifest", "qc"],
        ),
        targets=expand("results/stimuli/{dataset}/target.csv", dataset=STIMULATED),
        calibrations=[
            f"results/calibrations/{CONFIG.datasets[dataset][0]}{table}.csv"
            for dataset in STIMULATED
            for table in ("", "_fit")
        ],
        loops=expand("results/closed_loop/{loop}/{file}", loop=CONFIG.loops, file=LOOP_FILES),
        oracle=[f"results/closed_loop/{name}/oracle.csv" for name, loop in CONFIG.loops.items() if loop.oracle],
        population=expand(
            "results/closed_loop/population{table}.csv", table=["", "_diagonal"] if len(CONFIG.loops) > 1 else []
        ),
        truth=expand("results/truth/{table}.csv", table=["recovery", "ceiling", "stimuli"] if TRUE_LOOPS else []),
    output:
        report(
            "results/report.html",
            caption="../report/report.rst",
            category="Report",
            labels={"page": "everything"},
        ),
    log:
        "results/logs/write_report.log",
    benchmark:
        "results/benchmarks/write_report.tsv"
    conda:
        "../../envs/neurostatic.yaml"
    resources:
        mem_mb=by_size(2000, 1),
        runtime=by_size(60, 0.05),
    params:
        datasets={name: list(scans) for name, scans in CONFIG.datasets.items()},
        loops={name: asdict(loop) for name, loop in CONFIG.loops.items()},
        stimulated=STIMULATED,
        kinds=list(CONFIG.stimuli.sets),
        networks=list(NETWORKS),
        seeds=list(CONFIG.training.seeds),
        code=code("write_report"),
    message:
        "report"
    script:
        "../scripts/write_report.py"
