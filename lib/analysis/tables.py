"""Tables of results: scores compared with the paper's, paired statistics, bounds of IoU."""

import csv
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, TextIO

import numpy as np

from lib import InputError, config, html
from lib.analysis import names, pairs, paper, stats
from lib.analysis.pairs import usable
from lib.analysis.paper import ROUNDING
from lib.outputs import PUBLISHED, Study, read_study
from lib.record import SCORES

if TYPE_CHECKING:
    import pandas

SCORES_NOTE = (
    "IoU is thresholded at 0.5 per image and averaged; IoU′ (equation 3) has no threshold; epochs "
    "are those run until training stopped."
)


@dataclass(frozen=True)
class Table:
    """A table with a title: notebooks show it as HTML, `print` as text, and `to_csv` saves it."""

    title: str
    columns: list[str]
    rows: list[list[str | int | float | None]]  # None is shown as a dash
    note: str = ""  # the source of the data, and the meaning of columns
    better: tuple[tuple[int, int, bool], ...] = ()  # (column, column, higher is better)

    def to_csv(self, path: str | Path) -> None:
        """Writes column names and rows at full precision, as `pandas.read_csv` reads them; for the note see `write`."""
        with _replacing(Path(path)) as file:
            csv.writer(file, lineterminator="\n").writerows([self.columns, *self.rows])

    def frame(self) -> "pandas.DataFrame":
        """The table as a pandas `DataFrame`, None as missing."""
        import pandas

        return pandas.DataFrame(self.rows, columns=self.columns)

    def ordered(self, column: str, descending: bool = False) -> "Table":
        """The same table with its rows in the order of a column."""
        at = self.columns.index(column)
        return replace(self, rows=sorted(self.rows, key=lambda row: row[at], reverse=descending))

    def _bold(self, row: list) -> set[int]:
        """Columns of this row with the better one of a pair."""
        bold = set()
        for i, j, higher in self.better:
            if _is_number(row[i]) and _is_number(row[j]) and row[i] != row[j]:
                bold.add(i if (row[i] > row[j]) == higher else j)
        return bold

    def _repr_html_(self) -> str:
        left = ' style="text-align: left"'  # for text; Jupyter aligns all columns to the right
        words = [any(isinstance(value, str) for value in column) for column in zip(*self.rows)] or [False] * len(
            self.columns
        )
        head = "".join(f'<th scope="col"{left * w}>{html(name)}</th>' for name, w in zip(self.columns, words))
        body = ""
        for row in self.rows:
            bold = self._bold(row)
            texts = [html(_text(value)) for value in row]
            body += (
                "<tr>"
                + "".join(
                    f"<td{left * w}><b>{text}</b></td>" if i in bold else f"<td{left * w}>{text}</td>"
                    for i, (text, w) in enumerate(zip(texts, words))
                )
                + "</tr>\n"
            )
        foot = f'<tfoot><tr><td colspan="{len(self.columns)}"{left}>{html(self.note)}</td></tr></tfoot>\n'
        return (
            f"<table>\n<caption{left}>{html(self.title)}</caption>\n<thead><tr>{head}</tr></thead>\n"
            f"<tbody>\n{body}</tbody>\n{foot if self.note else ''}</table>"
        )

    def __str__(self) -> str:
        lines = [[name.replace("|", "\\|") for name in self.columns]]
        for row in self.rows:
            bold = self._bold(row)
            texts = [_text(value).replace("|", "\\|") for value in row]
            lines.append([f"**{text}**" if i in bold else text for i, text in enumerate(texts)])
        widths = [max(map(len, column)) for column in zip(*lines)]
        text = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
        text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join([self.title, "", *text, *(["", self.note] if self.note else [])])


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """A text file that is at its place when it is complete; its folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", newline="", encoding="utf-8", delete=False
    )
    try:
        with temporary as file:
            yield file
        os.chmod(temporary.name, 0o644)  # temporary files are private, tables should not be
        os.replace(temporary.name, path)
    except BaseException:
        os.unlink(temporary.name)
        raise


def write(tables: Mapping[str, Table], folder: Path) -> None:
    """Writes each table as `<name>.csv` into `folder`, and titles and notes into the folder's `README.md`."""
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv")
    with _replacing(folder / "README.md") as file:
        file.write("# Tables\n\nOne row of column names, then plain values; an empty value is missing.\n")
        file.writelines(
            f"\n## [{name}.csv]({name}.csv)\n\n{table.title}. {table.note}".rstrip() + "\n"
            for name, table in tables.items()
        )


def paper_table(study: Study, model: str, dataset: str) -> Table:
    """One of the paper's Tables 3-6 with the scores of this study and of the paper.

    Args:
        study: the result of `outputs.read_study`.
        model: bfcn32s or fcresnet.
        dataset: lfw or helen.
    Returns:
        `Table` of four rows; a run that is not finished is shown as a dash.
    Raises:
        InputError: for an unknown model or dataset.
    """
    cells = [cell for cell in config.CELLS if (cell.model, cell.dataset) == (model, dataset)]
    if not cells:
        raise InputError(
            f"model {model!r} on dataset {dataset!r} is in no table of the paper: use a model "
            f"of {', '.join(paper.MODELS)} and a data set of {', '.join(paper.DATASETS)}"
        )
    columns, better = ["name"], []
    for metric, name in names.COLUMNS.items():
        for source in ("", "paper: ") if metric in paper.METRICS else ("",):
            better.append((len(columns), len(columns) + 1, stats.HIGHER_IS_BETTER[metric]))
            columns += [f"{source}{name} {loss}" for loss in paper.LOSSES.values()]
    rows = []
    for cell in cells:
        row = [cell.name]
        for metric in names.COLUMNS:
            row += [_score(study, cell.run_id(loss), metric) for loss in paper.LOSSES]
            if metric in paper.METRICS:
                published = paper.scores(metric)[config.CELLS.index(cell)].tolist()
                row += map(int, published) if metric == "epochs" else published
        rows.append(row)
    number = 3 + config.CELLS.index(cells[0]) // 4
    runs = [study[cell.run_id(loss)] for cell in cells for loss in paper.LOSSES if cell.run_id(loss) in study]
    title = f"{paper.MODELS[model]} on {paper.DATASETS[dataset]}, beside the paper's Table {number}"
    return Table(title, columns, rows, f"{SCORES_NOTE} {pairs.data_note(runs)}".strip(), tuple(better))


def statistics_table(study: Study | None = None) -> Table:
    """Paired statistics of IoU loss against BCE loss (`stats.compare`), for the study and the paper's tables.

    Pairs with a score that is NaN are left out (n is the number of the others). Without `study`, only the paper.
    """
    columns = [
        "from",
        "metric",
        "n",
        "mean difference",
        "95 % low",
        "95 % high",
        "t",
        "p",
        "Wilcoxon p",
        "better: L_IoU",
        "better: L_BCE",
        "ties",
        "error reduction",
        "largest difference",
    ]
    scores = [("paper", metric, paper.scores(metric)) for metric in paper.METRICS]
    note = "Differences are L_IoU minus L_BCE; t-test and Wilcoxon test are paired and two-sided."
    if study:
        here = [("this study", metric, pairs.scores(study, metric)[1]) for metric in names.COLUMNS]
        scores = here + scores
        runs = [run for _, iou, bce in pairs.pairs(study) for run in (iou, bce)]
        note = f"{note} {SCORES_NOTE} {pairs.data_note(runs)}".strip()
    rows = []
    for source, metric, values in scores:
        usable = values[[not any(map(isnan, pair)) for pair in values]]
        found = stats.compare(*usable.T, metric) if len(usable) else {"metric": metric, "n": 0}
        keys = (
            "n",
            "mean_difference",
            "low",
            "high",
            "t",
            "p",
            "wilcoxon_p",
            "wins_iou",
            "wins_bce",
            "ties",
            "error_reduction",
            "largest_difference",
        )
        rows.append([source, names.COLUMNS[metric], *map(found.get, keys)])
    return Table("IoU loss against BCE loss, paired over the cells", columns, rows, note)


def bounds_table(study: Study | None = None) -> Table:
    """Could the reported IoU come from thresholded predictions? `paper.iou_bounds` for each run.

    For a study: the bounds from accuracy and share of positive pixels of the test part, and whether pooled IoU (which
    is always inside), IoU and IoU′ are inside. Without `study`: the paper's rows for LFW, for which "inside" allows for
    rounding to three decimals (the share of positive pixels in its HELEN test part is not known).
    """
    if study is None:
        return _paper_bounds()
    columns = ["run", "accuracy", "positive share", "lowest IoU", "highest IoU"]
    for name in ("pooled IoU", "IoU", "IoU′"):
        columns += [name, f"{name} is"]
    rows = []
    for run in study.values():
        tp, fp, fn, tn = (run.per_image[name].sum() for name in ("tp", "fp", "fn", "tn"))
        pixels = tp + fp + fn + tn
        accuracy, prevalence = float((tp + tn) / pixels), float((tp + fn) / pixels)
        low, high = paper.iou_bounds(accuracy, prevalence)
        row = [run.run_id, accuracy, prevalence, low, high]
        for metric in ("iou_pooled", "iou", "iou_soft"):
            row += [run.score(metric), _place(run.score(metric), low - 1e-9, high + 1e-9)]
        rows.append(row)
    note = (
        "The bounds hold for pooled pixels after a threshold; IoU and IoU′ are averages over images. "
        f"{pairs.data_note(list(study.values()))}"
    )
    return Table("Bounds of IoU at the accuracy of each run", columns, rows, note)


def _paper_bounds() -> Table:
    rows = []
    groups = lfw_groups()
    for cell, accuracies, ious in zip(config.CELLS, paper.scores("accuracy").tolist(), paper.scores("iou").tolist()):
        if (cell.dataset, cell.hair) not in paper.PREVALENCE:
            continue
        prevalence = paper.PREVALENCE[cell.dataset, cell.hair]
        for loss, accuracy, iou in zip(paper.LOSSES.values(), accuracies, ious):
            lowest = paper.iou_bounds(accuracy - ROUNDING, prevalence)[0] - ROUNDING
            highest = paper.iou_bounds(accuracy + ROUNDING, prevalence)[1] + ROUNDING
            row = [paper.MODELS[cell.model], cell.name, loss, accuracy, prevalence]
            row += [*paper.iou_bounds(accuracy, prevalence), iou, _place(iou, lowest, highest)]
            for counts in groups.get(cell.hair, (None, None)):  # batches, images
                mean = paper.lowest_mean_iou(accuracy - ROUNDING, *counts) - ROUNDING if counts else None
                row += [mean, _place(iou, mean, accuracy + ROUNDING) if counts else None]
            rows.append(row)
    columns = ["model", "name", "loss", "accuracy", "positive share", "lowest IoU", "highest IoU", "reported IoU"]
    columns += [
        "reported IoU is",
        "lowest mean over batches of 100",
        "so it is",
        "lowest mean over images",
        "and so it is",
    ]
    note = (
        "The paper's Tables 3 and 5; the positive share is measured on the labels of the LFW test part. The first "
        "bounds are those of pooled pixels after a threshold; the lowest means, with room for rounding, are reached if "
        "every error is a miss and lies where positives are fewest (labels at 128 px)."
    )
    return Table("Bounds of IoU at the accuracy that the paper reports on LFW", columns, rows, note)


def lfw_groups() -> dict[bool, tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]]:
    """The positive pixels and all pixels of LFW's test images, from the counts of the published study of real faces.

    Returns:
        with hair or not -> ((positives, pixels) of batches of 100 images in order, the same of each image); empty where
        the study is not there.
    """
    found = {}
    if (PUBLISHED / "small").is_dir():
        study = read_study(PUBLISHED / "small")
        for cell in config.CELLS:
            run = study.get(cell.run_id("bce"))
            if cell.dataset == "lfw" and run and run.record["data"]["official"]:
                tp, fp, fn, tn = (run.per_image[name] for name in ("tp", "fp", "fn", "tn"))
                images = tp + fn, tp + fp + fn + tn
                batches = tuple(np.add.reduceat(counts, np.arange(0, len(tp), 100)) for counts in images)
                found[cell.hair] = batches, images
    return found


def implied_shares_table() -> Table:
    """`paper.implied_prevalence` of each of the paper's four test parts: by the rows of IoU loss, of BCE, of both."""
    rows = []
    for dataset, name in paper.DATASETS.items():
        for hair in (True, False):
            ranges = {loss: paper.implied_prevalence(dataset, hair, loss) for loss in paper.LOSSES}
            low, high = max(low for low, _ in ranges.values()), min(high for _, high in ranges.values())
            fits = [_span(*each) for each in (*ranges.values(), (low, high))]
            rows.append([name, "hair" if hair else "no hair", *fits, paper.PREVALENCE.get((dataset, hair))])
    columns = [
        "test part of",
        "face",
        "share by IoU-loss rows",
        "share by BCE rows",
        "share by all rows",
        "measured share",
    ]
    return Table(
        "Which shares of positive pixels the paper's rows allow, without any label",
        columns,
        rows,
        "If IoU is that of pooled pixels at a threshold, accuracy and IoU of a row leave a range for the share of "
        "positive pixels, the same for all rows of a test part.",
    )


def _span(low, high):
    return f"{low:.3f} to {high:.3f}" if low <= high else "none"


def _place(value: float, low: float, high: float) -> str | None:
    """Whether a value is inside, below or above the bounds; None for NaN."""
    if isnan(value):
        return None
    return "below" if value < low else "above" if value > high else "inside"


def _score(study: Study, run_id: str, metric: str) -> float | int | None:
    if run_id not in study:
        return None
    values = [run.score(metric) for run in pairs.replicates(study, study[run_id])]
    return int(values[0]) if metric == "epochs" and len(values) == 1 else sum(values) / len(values)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isnan(value)


def _text(value: str | int | float | None) -> str:
    """A value as text: three decimals, two significant digits below 0.01, a dash for None or NaN."""
    if value is None or isinstance(value, float) and isnan(value):
        return "–"
    if isinstance(value, float):
        return f"{value:.2g}" if 0 < abs(value) < 0.01 else f"{value:.3f}"
    return str(value)


def subsets_table(study: Study, metric: str = "iou") -> Table:
    """Mean scores and mean differences over subsets of the cells, for the study and the paper.

    The subsets are all cells, then those of each model, data set, size and hair. `metric` is accuracy, iou, iou_pooled,
    iou_soft or epochs.
    """
    cells, values = usable(study, metric)
    published = paper.scores(metric) if metric in paper.METRICS else None
    parts = {"all": lambda cell: True}
    for position, values_of in enumerate(
        (paper.MODELS, paper.DATASETS, {"big": "big", "small": "small"}, {True: "hair", False: "no hair"})
    ):
        for value, name in values_of.items():
            parts[name] = lambda cell, position=position, value=value: cell[position] == value
    rows = []
    for name, belongs in parts.items():
        here = values[[belongs(cell) for cell in cells]].reshape(-1, 2)
        row = [name, len(here), *([None] * 5)]
        if len(here):
            means = here.mean(axis=0).tolist()
            row = [name, len(here), *means, means[0] - means[1], *stats.mean_interval(*here.T)]
        if published is not None:
            theirs = published[[belongs(cell) for cell in config.CELLS]]
            row += [*theirs.mean(axis=0).tolist(), float(np.subtract(*theirs.T).mean())]
        rows.append(row)
    columns = ["cells", "n", "L_IoU", "L_BCE", "difference", "95 % low", "95 % high"]
    columns += ["paper: L_IoU", "paper: L_BCE", "paper: difference"] if published is not None else []
    runs = [run for _, iou, bce in pairs.pairs(study) for run in (iou, bce)]
    title = f"Mean {names.SCORES.get(metric, metric)} by part of the study"
    return Table(title, columns, rows, pairs.data_note(runs))


def runs_table(study: Study) -> Table:
    """One row per run: its configuration, scores, epochs, seconds, seed and the source of its data."""
    columns = [
        "run",
        "model",
        "dataset",
        "size",
        "hair",
        "loss",
        *SCORES,
        "epochs run",
        "best epoch",
        "seconds",
        "seed",
        "image size",
        "positive share",
        "data",
    ]
    rows = []
    for run in study.values():
        record = run.record
        seconds = record["seconds"].get("total", sum(record["seconds"].values()))
        rows.append(
            [
                run.run_id,
                *run.cell[:3],
                "yes" if run.cell.hair else "no",
                run.loss,
                *map(run.score, SCORES),
                record["epochs_run"],
                record["best_epoch"],
                seconds,
                record["seed"],
                record["params"].get("image_size"),
                record["data"].get("positive_share"),
                pairs.data_note([run]),
            ]
        )
    return Table("Runs", columns, rows)
