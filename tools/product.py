"""Every file that the commands write: which command, and what is in it. A test looks for names that are not here."""

from __future__ import annotations

from docstring import table

ADAPT, TRAIN, BLOCKS = "scripts.adapt", "training", "scripts.blockwise"
INFER = "inference"
PRODUCTS = (
    # ---- training
    ("model.pt", TRAIN, "weights of the averaged generator Y to X with the plan; inference reads them (`model_path`)"),
    ("model_previous.pt", TRAIN, "the weights that stood under that name before"),
    ("source_only.pt", TRAIN, "weights at the end of the warm-up, learned from X alone"),
    (
        "checkpoint_*.pt",
        TRAIN,
        "all networks, optimisers, image pools, random streams and settings; the newest two stay",
    ),
    ("best.pt", TRAIN, "the checkpoint that scored best on the held-out part of X (`best_checkpoint`)"),
    ("losses.csv", TRAIN, "means of every loss over ten iterations"),
    ("collapse.csv", TRAIN, "the statistics that `CollapseWatch` judges"),
    ("offending_batch.npz", TRAIN, "the batch on which a loss or a gradient was not finite, for `numpy.load`"),
    ("configuration.yaml", TRAIN, "the merged configuration, which repeats the run"),
    ("run.json", TRAIN, "seed, command, versions and machine, an entry for each start"),
    ("panels/", TRAIN, "at most 24 pictures of each cycle"),
    ("events.out.tfevents.*", TRAIN, "losses, rates, scores and pictures for TensorBoard"),
    ("mlruns.db", "training with mlflow.yaml", "the same figures for MLflow (SQLite)"),
    ("candidate_*.pt", "training with keep: better", "states of the training that `scripts.judge` compares"),
    ("thresholds.pt", "scripts.judge.threshold", "a copy of a model whose plan has other thresholds of the decoder"),
    ("judge.csv", "training with keep: better", "a row for each candidate: score, vetoes, margin"),
    ("judge.json", "training with keep: better, scripts.judge", "all figures of the choice among models"),
    ("judge.png", "scripts.judge", "the candidates side by side where they disagree most"),
    ("round_*.pt", "training with refine.yaml", "weights after each round; 0: before the first one"),
    ("refine.csv", "training with refine.yaml", "a row for each round: instances kept, sizes, score, undone or not"),
    # ---- inference
    ("NAME_maps.h5", INFER, "dataset main, (C, Z, Y, X) uint8: translated image and maps, with channel names and plan"),
    ("NAME_instances.tif", INFER, "instances (Z, Y, X); `output_ext` names another format"),
    ("maps.zarr", "inference with blockwise.yaml", "the same as NAME_maps.h5, array 0 of a Zarr store"),
    (
        "instances.ome.zarr",
        f"inference with blockwise.yaml, {BLOCKS}",
        "instances with lower resolutions, uint32 or uint64",
    ),
    (
        "instances.csv",
        f"{ADAPT}, {BLOCKS}, inference with blockwise.yaml",
        "a row for each instance: voxels, box, centroid, mean of the maps",
    ),
    (
        "*.work",
        f"{BLOCKS}, inference with blockwise.yaml",
        "which blocks are done; removed at the end of a run without shards",
    ),
    ("metrics.json", "evaluating", "scores of all volumes together and of each"),
    ("metrics.csv", "evaluating", "a row for each volume"),
    # ---- the commands around them
    ("plan.yaml", ADAPT, "scales, percentiles and density that `scripts.match_domains` found"),
    ("plan.png", ADAPT, "X and Y at one scale"),
    ("cysgan.pt", ADAPT, "weights that the training chose, from which the refinement starts"),
    ("NAME_confidence.tif", f"{ADAPT}, scripts.judge.confidence", "how far each instance can be trusted, in percent"),
    ("NAME_confidence.csv", "scripts.judge.confidence", "the same as a table"),
    ("NAME_doubts.csv", "scripts.judge.confidence", "places of instances that were probably invented or lost"),
    ("NAME_sure.tif", "scripts.judge.confidence --min_confidence", "the instances with at least this confidence"),
    ("result.json", f"{ADAPT}, scripts.compare", "all figures of a run"),
    ("commands.sh", f"{ADAPT}, scripts.compare.demo", "the command of each stage"),
    ("settings.json", f"{ADAPT}, {BLOCKS}", "what the run was started with, so that other settings are rejected"),
    ("stages.json", f"{ADAPT}, scripts.compare", "which stages are done, their minutes and memory"),
    (
        "report.html",
        f"scripts.report.html, {ADAPT}, scripts.compare.demo",
        "a run on one page, for a browser without a network",
    ),
    ("report.png", "scripts.report, scripts.compare.demo", "image, maps and instances in three cuts"),
    (
        "match.yaml",
        "scripts.match_domains",
        "an overlay with scales, percentiles and density; a picture `.png` lies beside it",
    ),
    ("results.csv", "scripts.compare", "a row for each run"),
    ("results.md", "scripts.compare", "the mean of each method, as a table"),
    ("results.png", "scripts.compare", "the same sections, a row for each method"),
    ("imageX.tif", "scripts.example", "simulated source; `labelX.tif` are its instances"),
    ("imageY.tif", "scripts.example", "simulated target; `labelY.tif` are its instances"),
    ("augmentation.png", "scripts.report.augmentation", "each random transform, before and after"),
    (".*.lock", "all that run for long", "one run at a time in a folder; a killed run leaves none that counts"),
    ("*.onnx, *.ts, *.bioimageio.zip", "scripts.export", "the network that predicts the maps, with its plan"),
)
"""Name, command and contents. NAME is the volume's: `Y.tif` gives Y, `vol.h5::a/raw` gives vol_a_raw."""


def page() -> str:
    """Return the page in Markdown."""
    introduction = """\
# Files that are written

A file is written under a temporary name and renamed, so that it is whole or not there. `losses.csv` and `collapse.csv`
grow line by line. NAME is the volume's: `Y.tif` gives `Y_maps.h5`, and `vol.h5::a/raw` gives `vol_a_raw_maps.h5`. The
results of another volume are not replaced. *training*, *inference* and *evaluating* are commands of `monai.bundle`.
"""
    rows = [[f"`{name}`", command, text] for name, command, text in PRODUCTS]
    return f"{introduction}\n{table(['file', 'written by', 'contents'], rows)}"
