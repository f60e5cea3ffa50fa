"""tests/bench/: the cheap rows at small sizes; what is printed and written, never how fast."""

import csv
import json

import bench
import bench_peers
import keras
import numpy as np
import pytest
from bench_timing import MISSING, Row, Timing, compare
from bench_training import flops, fully_connected
from keras import ops

from lib import losses


@pytest.fixture(autouse=True)
def without_peers(monkeypatch):
    """The rows are as where torch is not installed, wherever the tests run."""
    monkeypatch.setattr(bench_peers, "installed", lambda *_: False)


@pytest.fixture
def table(tmp_path):
    """The rows that a quick run of these words wrote, as dicts."""

    def run(*words):
        found = []
        for word in words:
            assert bench.main(["--quick", "--only", word, "--out", str(tmp_path)]) == 0
            with open(tmp_path / f"{keras.backend.backend()}.csv", newline="", encoding="utf-8") as file:
                found += csv.DictReader(file)
        return found

    return run


def test_rows_are_printed_and_written_with_the_wanted_ratio(table, tmp_path, capsys):
    (row,) = table("up-sampling")
    assert tuple(row) == bench.COLUMNS
    assert float(row["ratio"]) == pytest.approx(float(row["theirs"]) / float(row["ours"]))
    assert row["wanted"] in ("1.0", "2.0")
    assert row["verdict"] == ("reached" if float(row["ratio"]) >= float(row["wanted"]) else "miss")
    printed = capsys.readouterr().out
    assert "wanted" in printed and row["what"] in printed and f"keras: {keras.__version__}" in printed
    about = json.loads((tmp_path / "environment.json").read_text())
    assert about["quick"] and about["keras"] == keras.__version__ and about["cpu"] and about["cores"] >= 1
    assert not (tmp_path / "growth.csv").exists()


def test_a_peer_that_is_missing_is_named_with_its_remedy(table, capsys):
    bce, *peers = table("iou loss")
    assert float(bce["ratio"]) > 0
    assert [row["note"] for row in peers] == [MISSING] * 2 and all(row["verdict"] == "" for row in peers)
    assert capsys.readouterr().out.count(MISSING) == 2


def test_growth_is_written_and_drawn(table, tmp_path):
    (row,) = table("grows: images")
    with open(tmp_path / "growth.csv", newline="") as file:
        points = list(csv.DictReader(file))
    assert [float(point["x"]) for point in points] == [20, 40]
    assert float(points[1]["linear_seconds"]) == pytest.approx(2 * float(points[0]["seconds"]))
    assert "exponent" in row["note"] and (tmp_path / "growth.png").stat().st_size > 1000


def test_an_unknown_word_is_refused_with_the_names_of_the_rows(capsys):
    with pytest.raises(SystemExit):
        bench.main(["--only", "nonsense"])
    assert "up-sampling by 32" in capsys.readouterr().err


def test_a_verdict_needs_both_figures_and_a_wanted_ratio():
    row = Row("a", "b", Timing(1.0), Timing(2.0), 2.0)
    assert row.ratio == 2 and row.verdict == "reached" and "miss" not in bench.line(row)
    slow = Row("a", "b", Timing(1.0), Timing(1.9), 2.0)
    assert slow.verdict == "miss" and bench.line(slow).endswith("miss")
    assert Row("a", "b", Timing(1.0), Timing(2.0)).verdict == Row("a", "b", Timing(1.0), None, 2.0).verdict == ""


def test_ways_are_called_in_turn():
    calls = []
    first, second = compare(lambda: calls.append("a"), lambda: calls.append("b"), quick=True)
    assert calls == list("abab") and first.spread == second.spread == 0


def test_operations_are_counted_by_hand():
    config = bench.bench_training.sized("bfcn32s", False, image_size=64, fc_units=3)
    assert flops(fully_connected(config, 5)) == 2 * 2 * 2 * (49 * 5 * 3 + 3 * 3)


def test_value_and_gradient_are_those_of_the_loss():
    rng, batch, size = np.random.default_rng(0), 2, 4
    mask = rng.integers(0, 2, (batch, size, size, 1)).astype("float32")
    logits = rng.normal(size=mask.shape).astype("float32")
    _, numbers = bench_peers.value_and_gradient(losses.IoULoss("sum_over_batch_size"), mask, logits)
    value, gradient = numbers()
    p = 1 / (1 + np.exp(-logits.astype("float64")))
    np.testing.assert_allclose(value, np.mean(ops.convert_to_numpy(losses.iou_loss(mask, logits))), rtol=1e-5)
    np.testing.assert_allclose(gradient, losses.iou_gradient(mask, p) * p * (1 - p) / batch, rtol=1e-3, atol=1e-6)
