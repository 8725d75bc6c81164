"""From predictions to tables and figures."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments import predictions
from experiments.predictions import Cell, Predictions, whole
from ser_jax.metrics import uar

SYNTHETIC = "synthetic"

# Table 2, %, by the database that the cell is tested on.
PAPER = {
    ("monolingual", "iemocap"): {"arousal": 68.09, "valence": 62.33},
    ("monolingual", "recola"): {"arousal": 60.77, "valence": 52.30},
    ("multilingual", "iemocap"): {"arousal": 70.06, "valence": 61.73},
    ("multilingual", "recola"): {"arousal": 62.51, "valence": 49.33},
    ("crosslingual", "iemocap"): {"arousal": 59.32, "valence": 49.08},
    ("crosslingual", "recola"): {"arousal": 61.27, "valence": 47.52},
    ("finetuned", "iemocap"): {"arousal": 67.03, "valence": 50.42},
    ("finetuned", "recola"): {"arousal": 63.07, "valence": 49.81},
}


class Row(NamedTuple):
    """One cell of the table, in per cent.

    Attributes:
      setting, corpus, target: the cell; a corpus of synthetic speech says so.
      uar_mean: over the runs.
      uar_std: sample deviation over the runs; NaN for a single one.
      runs, folds: how many.
      paper_uar: the paper's on the corpora of its cell; NaN where it has none.
    """

    setting: str
    corpus: str
    target: str
    uar_mean: float
    uar_std: float
    runs: int
    folds: int
    paper_uar: float


def fold_mean_uar(said: Predictions) -> np.ndarray:
    """UAR of every run, %: the mean over the test folds, as a cross-validation reports it; [R]."""
    folds = np.unique(said.fold)
    decided = said.probability > 0.5
    return np.array(
        [
            100 * np.mean([uar(said.label[said.fold == f], run[said.fold == f]) for f in folds])
            for run in decided.astype(np.int8)
        ]
    )


def rows(out: Path, settings: list[str]) -> list[Row]:
    """Recomputes the table's cells from the predictions in `out`."""
    protocol = predictions.protocol(out)
    pair = {corpus["builder"] for corpus in protocol["corpora"]} == {"iemocap", "recola"}
    table = []
    for setting in settings:
        for corpus in protocol["corpora"]:
            for target in protocol["targets"]:
                said = predictions.read(out, Cell(setting, corpus["name"], target))
                each = fold_mean_uar(said)
                paper = PAPER[setting, corpus["builder"]][target] if pair else np.nan
                spread = np.std(each, ddof=1) if len(each) > 1 else np.nan
                table.append(
                    Row(
                        setting,
                        _title(corpus),
                        target,
                        float(np.mean(each)),
                        float(spread),
                        len(each),
                        len(np.unique(said.fold)),
                        paper,
                    )
                )
    return table


def write(out: Path, name: str, settings: list[str]) -> str:
    """Writes OUT/name.md, .csv and .png from the predictions in `out`, and returns the Markdown."""
    table = rows(out, settings)
    text = markdown(table, predictions.protocol(out))
    with whole(out / f"{name}.md") as file:
        file.write_text(text + "\n")
    with whole(out / f"{name}.csv") as file:
        file.write_text(_csv(table))
    with whole(out / f"{name}.png") as file, file.open("wb") as stream:
        FigureCanvasAgg(figure(out, settings)).print_png(stream)
    return text


def markdown(table: list[Row], protocol: dict) -> str:
    """The table with a row per setting, each number beside the paper's where it has one."""
    columns = list(dict.fromkeys((row.corpus, row.target) for row in table))
    with_paper = any(np.isfinite(row.paper_uar) for row in table)
    head = ["UAR, %"]
    for corpus, target in columns:
        head += [f"{corpus} {target}"] + (["paper"] if with_paper else [])
    lines = [head]
    for setting in dict.fromkeys(row.setting for row in table):
        line = [setting]
        for column in columns:
            row = next(r for r in table if (r.setting, r.corpus, r.target) == (setting, *column))
            spread = f" ± {row.uar_std:.1f}" if np.isfinite(row.uar_std) else ""
            line += [f"{row.uar_mean:.1f}{spread}"] + ([f"{row.paper_uar:.2f}"] if with_paper else [])
        lines.append(line)
    return "\n".join([*_notice(protocol, with_paper), *_aligned(lines), "", _caption(table, protocol)])


def figure(out: Path, settings: list[str]) -> Figure:
    """Every run's UAR by setting, a panel per corpus and target; the paper's as open diamonds."""
    protocol = predictions.protocol(out)
    table = rows(out, settings)
    panels = list(dict.fromkeys((row.corpus, row.target) for row in table))
    drawing = Figure(figsize=(3.2 * len(panels), 3.6), layout="constrained")
    axes = drawing.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    names = {_title(corpus): corpus["name"] for corpus in protocol["corpora"]}
    for axis, (corpus, target) in zip(axes, panels, strict=True):
        for i, setting in enumerate(settings):
            each = fold_mean_uar(predictions.read(out, Cell(setting, names[corpus], target)))
            row = next(r for r in table if (r.setting, r.corpus, r.target) == (setting, corpus, target))
            axis.plot(np.full(len(each), i), each, "o", color="tab:blue", alpha=0.5, markersize=5)
            axis.plot([i - 0.25, i + 0.25], [row.uar_mean] * 2, color="tab:blue", linewidth=2)
            axis.plot([i], [row.paper_uar], "D", color="black", fillstyle="none", markersize=6)
        axis.axhline(50, color="gray", linewidth=0.8, linestyle=":")
        axis.set_title(f"{corpus}\n{target}", fontsize=10)
        axis.set_xticks(range(len(settings)), settings, rotation=30, ha="right", fontsize=8)
        axis.set_xlim(-0.6, len(settings) - 0.4)
        axis.set_ylim(min(35, axis.get_ylim()[0]), 100)
    axes[0].set_ylabel("UAR, %")
    label = "dots: runs; bars: their mean; dotted: guessing"
    if any(np.isfinite(row.paper_uar) for row in table):
        label += "; diamonds: the paper, on IEMOCAP and RECOLA"
    drawing.supxlabel(label, fontsize=8)
    if any(corpus["synthetic"] for corpus in protocol["corpora"]):
        drawing.suptitle("Synthetic speech", fontsize=10)
    return drawing


def _title(corpus: dict) -> str:
    made_up = corpus["synthetic"] and SYNTHETIC not in corpus["name"]
    return f"{corpus['name']} ({SYNTHETIC})" if made_up else corpus["name"]


def _csv(table: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    for row in table:
        writer.writerow(
            ""
            if isinstance(value, float) and np.isnan(value)
            else f"{value:.4f}"
            if isinstance(value, float)
            else value
            for value in row
        )
    return text.getvalue()


def _notice(protocol: dict, with_paper: bool) -> list[str]:
    synthetic = [corpus["name"] for corpus in protocol["corpora"] if corpus["synthetic"]]
    if not synthetic:
        return []
    beside = " The paper's figures beside them are IEMOCAP's and RECOLA's." if with_paper else ""
    return [
        f"**Synthetic speech** ({', '.join(synthetic)}): nobody spoke this, it is neither database.{beside}",
        "",
    ]


def _caption(table: list[Row], protocol: dict) -> str:
    settings = {row.setting for row in table}
    default = protocol["standardize_default"]
    across = sorted(settings - {"monolingual"})
    modes = [f"`{default['within']}` within a corpus"] if "monolingual" in settings else []
    modes += [f"`{default['across']}` across corpora"] if across else []
    how = f"`{protocol['standardize']}`" if protocol["standardize"] else ", ".join(modes)
    whole = " (cross-lingual: all utterances at once)" if "crosslingual" in settings else ""
    tuned = f", fine-tuned {protocol['finetune_epochs']} on {protocol['finetune_samples']} utterances a fold"
    several = protocol["seeds"] > 1
    spread = "Mean ± sample deviation" if several else "UAR"
    epochs = f"{protocol['epochs']} epochs{tuned if 'finetuned' in settings else ''}"
    lacking = [
        f"{corpus['left_out']} of {corpus['name']}" for corpus in protocol["corpora"] if corpus["left_out"]
    ]
    without = f" Left out as unusable: {', '.join(lacking)}." if lacking else ""
    precision = protocol["model"]["precision"]
    products = "" if precision == "float32" else f", products in {precision}"
    return (
        f"{spread} over n = {protocol['seeds']} run{'s' if several else ''} of the mean UAR of "
        f"{protocol['folds']} folds{whole}; guessing gives 50. {epochs}{products}; standardisation {how}; "
        f"label rule `{protocol['label_rule']}`.{without}"
    )


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = ["-" * width for width in widths]
    return [
        "| " + " | ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)) + " |"
        for line in [lines[0], rule, *lines[1:]]
    ]
