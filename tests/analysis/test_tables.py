import csv

import numpy as np
import pytest
from made_up_study import SCORES, study_of, write_run

from lib import InputError, config, outputs
from lib.analysis import sentences, tables
from lib.analysis.tables import Table

TABLE = Table(
    "A <title>",
    ["name", "a", "b", "n"],
    [["x|y", 0.12345, 0.5, 3], ["<b>", None, np.nan, 2]],
    "Data: made up & small.",
    ((1, 2, True),),
)


@pytest.fixture
def study(tmp_path):
    """The four pairs of Table 3 but for the last BCE run; IoU loss is better by 0.01, 0.02 and 0.03."""
    for i, cell in enumerate(config.CELLS[:4]):
        write_run(tmp_path, cell, "iou", scores=SCORES | {"iou": 0.6 + 0.01 * i}, epochs_run=5)
        if i < 3:
            write_run(tmp_path, cell, "bce", scores=SCORES | {"iou": 0.59}, epochs_run=4 + i)
    return outputs.read_study(tmp_path)


def test_html_is_escaped_and_marks_the_better():
    html = TABLE._repr_html_().replace(' style="text-align: left"', "")
    assert "<caption>A &lt;title&gt;</caption>" in html
    assert "<td>x|y</td><td>0.123</td><td><b>0.500</b></td><td>3</td>" in html
    assert "<td>&lt;b&gt;</td><td>–</td><td>–</td><td>2</td>" in html
    assert '<td colspan="4">Data: made up &amp; small.</td>' in html
    assert '<td style="text-align: left">x|y</td><td>0.123' in TABLE._repr_html_()


def test_text_is_a_markdown_table():
    lines = str(TABLE).splitlines()
    assert lines[0] == "A <title>" and lines[-1] == "Data: made up & small."
    assert [cell.strip() for cell in lines[4].split(" | ")] == [r"| x\|y", "0.123", "**0.500**", "3 |"]


@pytest.mark.parametrize(
    "value, text",
    [
        (0.9126, "0.913"),
        (4.73e-4, "0.00047"),
        (0.0, "0.000"),
        (12, "12"),
        (None, "–"),
        (float("nan"), "–"),
        ("big", "big"),
    ],
)
def test_cells_as_text(value, text):
    assert text in str(Table("", ["x"], [[value]]))


def test_lower_is_better_for_epochs_and_ties_are_not_marked():
    table = Table("", ["a", "b"], [[91, 146], [5, 5]], better=((0, 1, False),))
    assert "**91**" in str(table) and "**5**" not in str(table)


def test_csv_holds_full_precision_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "tables" / "t.csv"
    TABLE.to_csv(path)
    TABLE.to_csv(path)
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [["name", "a", "b", "n"], ["x|y", "0.12345", "0.5", "3"], ["<b>", "", "nan", "2"]]
    assert [entry.name for entry in path.parent.iterdir()] == ["t.csv"]


def test_tables_stand_beside_their_notes(tmp_path):
    tables.write({"t": TABLE}, tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["README.md", "t.csv"]
    assert "## [t.csv](t.csv)\n\nA <title>. Data: made up & small.\n" in (tmp_path / "README.md").read_text()


def test_a_failed_write_leaves_the_old_table(tmp_path):
    path = tmp_path / "t.csv"
    TABLE.to_csv(path)
    with pytest.raises(UnicodeEncodeError):
        Table("", ["\ud800"], []).to_csv(path)
    assert path.read_text().startswith("name,a,b,n\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.csv"]


def test_paper_table_puts_this_study_beside_the_paper(study):
    table = tables.paper_table(study, "bfcn32s", "lfw")
    assert table.title == "BFCN-32s on LFW, beside the paper's Table 3"
    rows = [dict(zip(table.columns, row)) for row in table.rows]
    assert [row["name"] for row in rows] == ["big, hair", "small, hair", "big, no hair", "small, no hair"]
    assert (rows[1]["IoU L_IoU"], rows[1]["IoU L_BCE"]) == (0.61, 0.59)
    assert (rows[1]["paper: IoU L_IoU"], rows[1]["paper: epochs L_BCE"]) == (0.887, 98)
    assert (rows[2]["epochs L_IoU"], rows[2]["epochs L_BCE"], rows[2]["IoU′ L_BCE"]) == (5, 6, 0.25)
    assert rows[3]["IoU L_BCE"] is None and "–" in str(table)
    assert "Data: LFW: made-up faces." in table.note
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_paper_table_of_what_was_not_run_shows_dashes(study):
    table = tables.paper_table(study, "fcresnet", "helen")
    assert table.title.endswith("Table 6") and table.rows[0][1:3] == [None, None]
    with pytest.raises(InputError, match="'unet'"):
        tables.paper_table(study, "unet", "lfw")


def test_statistics_of_study_and_paper(study):
    table = tables.statistics_table(study)
    rows = {(row[0], row[1]): dict(zip(table.columns, row)) for row in table.rows}
    assert list(rows) == [("this study", name) for name in ("accuracy", "IoU", "IoU′", "epochs")] + [
        ("paper", name) for name in ("accuracy", "IoU", "epochs")
    ]
    here = rows["this study", "IoU"]
    assert (here["n"], here["better: L_IoU"]) == (3, 3)
    assert here["mean difference"] == pytest.approx(0.02)
    assert rows["this study", "epochs"]["better: L_BCE"] == 1
    assert rows["paper", "IoU"]["t"] == pytest.approx(4.445, abs=5e-4)
    assert "made-up faces" in table.note
    assert tables.statistics_table().rows == table.rows[4:]


def test_statistics_leave_out_missing_pairs_and_nan(tmp_path):
    write_run(tmp_path, config.CELLS[0], "iou")
    rows = tables.statistics_table(outputs.read_study(tmp_path)).rows
    assert rows[0] == ["this study", "accuracy", 0] + [None] * 11
    write_run(tmp_path, config.CELLS[0], "bce", scores=SCORES | {"iou_soft": float("nan")})
    rows = tables.statistics_table(outputs.read_study(tmp_path)).rows
    assert (rows[0][2], rows[2][2]) == (1, 0)


def test_bounds_of_a_study_by_hand(study):
    # tp 3, fp 1, fn 1, tn 3: accuracy 0.75, positive share 0.5, bounds (0.5 - 0.25) / 0.5 and 0.5 / 0.75
    table = tables.bounds_table(study)
    assert len(table.rows) == len(study)
    assert table.rows[0][:3] == ["bfcn32s-lfw-big-hair-iou", 0.75, 0.5]
    assert table.rows[0][3:5] == pytest.approx([0.5, 2 / 3])
    assert table.rows[0][5:] == [0.6, "inside", 0.6, "inside", 0.25, "below"]
    assert "made-up faces" in table.note


def test_bounds_of_the_paper_exclude_only_bce_rows_of_bfcn32s():
    """All four for pooled pixels, three for a mean over batches, none for a mean over images."""
    rows = tables.bounds_table().rows
    assert len(rows) == 16
    for column, count in ((8, 4), (10, 3), (12, 0)):
        below = [tuple(row[:3]) for row in rows if row[column] == "below"]
        assert below == [("BFCN-32s", cell.name, "L_BCE") for cell in config.CELLS[:count]]
        assert {row[column] for row in rows} <= {"inside", "below"}


def test_no_share_of_positive_pixels_fits_all_rows_of_the_paper():
    rows = tables.implied_shares_table().rows
    assert [row[2] for row in rows] == ["0.295 to 0.338", "0.200 to 0.227", "0.273 to 0.320", "0.156 to 0.175"]
    assert [row[4] for row in rows] == ["none"] * 4 and [row[5] for row in rows] == [0.305, 0.212, None, None]


def test_parts_of_the_study(tmp_path):
    table = tables.subsets_table(study_of(tmp_path, ((0.9, 0.8), (0.9, 0.8)), ((0.8, 0.6), (0.8, 0.6))))
    rows = {row[0]: row for row in table.rows}
    assert rows["all"][1:5] == [2, pytest.approx(0.85), pytest.approx(0.7), pytest.approx(0.15)]
    assert rows["big"][1:5] == [1, 0.9, 0.8, pytest.approx(0.1)]
    assert rows["FCResNet"][1:7] == [0, None, None, None, None, None]
    published = [0.015, 0.030, 0.044, 0.035, 0.039, 0.041, 0.028, 0.034]  # Tables 3 and 4
    assert rows["BFCN-32s"][9] == pytest.approx(np.mean(published))
    assert "+0.100 (n = 1) and +0.200 (n = 1): no loss is clearly ahead in both" in sentences.contrast(
        table, "big", "small"
    )
    assert "cannot be compared yet" in sentences.contrast(table, "BFCN-32s", "FCResNet")
