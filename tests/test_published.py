"""lib/publish.py, and the studies under outputs/published: consistent with their own maps and with today's code."""

import json

import numpy as np
import papermill
import pytest
from made_up_study import write_paper_study

from lib import PROJECT, InputError, data, metrics, outputs, params
from lib.analysis import conditions, intervals, predictions, stats
from lib.analysis.pairs import collapsed, is_capped, scores
from lib.config import CELLS, resolve
from lib.study import publish, report

PUBLISHED = sorted(path for path in (PROJECT / "outputs" / "published").iterdir() if (path / "tables").is_dir())
DEMO = PROJECT / "outputs" / "published" / "demo"


@pytest.fixture(scope="module")
def demo():
    return outputs.read_study(DEMO)


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_published_studies_are_read_and_their_tables_are_of_their_records(folder, tmp_path):
    contents = outputs.read_study(folder)
    assert (len(contents) == 32 or conditions.is_beyond(contents)) and not contents.problems
    for name, table in report.csv_tables(contents).items():
        table.to_csv(tmp_path / f"{name}.csv")
        assert (tmp_path / f"{name}.csv").read_text() == (folder / "tables" / f"{name}.csv").read_text(), name


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_published_records_name_no_place_and_have_parameters_of_today(folder):
    for run in outputs.read_study(folder).values():
        config = resolve(run.record["params"])
        assert config.run_id == run.run_id and config.data in ("", "synthetic")
        assert run.score("iou") == pytest.approx(run.per_image["iou"].mean())
        assert run.score("accuracy") == pytest.approx(run.per_image["accuracy"].mean())
        assert len(run.history["epoch"]) == run.record["epochs_run"]


def test_the_readme_says_what_the_published_study_found():
    readme = " ".join((PROJECT / "README.md").read_text().split("## ")[0].split())
    study = outputs.read_study(PROJECT / "outputs" / "published" / "small")
    names = {"iou": "IoU at threshold 0.5", "iou_soft": "IoU′, no threshold (equation 3)", "accuracy": "accuracy"}
    for metric, name in names.items():
        _, values = scores(study, metric)
        ours, bce = values.mean(axis=0)
        low, high = stats.mean_interval(*values.T)
        row = f"| {name} | {ours:.3f} | {bce:.3f} | {ours - bce:+.3f} ({low:.3f} to {high:.3f}) |".replace("-", "−")
        assert row in readme, row
    fallen = [run for run in study.values() if collapsed(run)]
    assert [run.loss for run in fallen] == ["iou", "iou"] and "2 runs, both with IoU loss, collapsed" in readme
    assert f"{sum(map(is_capped, study.values()))} of {len(study)} runs stopped at the limit" in readme


def test_every_published_score_follows_from_the_published_maps(demo):
    for run in demo.values():
        _, masks = predictions.test_pictures(run)
        probabilities, _ = run.probabilities()
        counts = metrics.confusion(masks, probabilities > 127)
        for name in ("tp", "fp", "fn", "tn"):
            np.testing.assert_array_equal(getattr(counts, name), run.per_image[name])
        scores, _ = metrics.score(masks[..., None], probabilities[..., None] / 255)
        assert run.score("iou") == pytest.approx(scores["iou"], abs=1e-12)
        assert run.score("iou_pooled") == pytest.approx(scores["iou_pooled"], abs=1e-12)
        assert run.score("iou_soft") == pytest.approx(scores["iou_soft"], abs=2e-3)  # the maps have 8 bits


def test_the_published_demo_is_small_and_has_the_demo_parameters(demo):
    assert sum(path.stat().st_size for path in DEMO.rglob("*")) <= 15_000_000
    for config in params.configurations("demo"):
        assert resolve(demo[config.run_id].record["params"]) == config


def test_the_analysis_reads_the_published_study_with_its_pictures(tmp_path):
    report._execute(DEMO, tmp_path / "analysis.ipynb")
    text = (tmp_path / "analysis.ipynb").read_text()
    assert "32 of 32 runs are finished" in text and "cannot be shown" not in text


def test_the_notebook_beyond_the_paper_reads_every_published_study(tmp_path):
    papermill.execute_notebook(str(PROJECT / "notebooks" / "beyond.ipynb"), str(tmp_path / "beyond.ipynb"), progress_bar=False)
    text = (tmp_path / "beyond.ipynb").read_text(encoding="utf-8")
    assert text.count("Not run yet") == 1 and all(f"**{name}**: Data" in text for name in conditions.STUDIES)  # in its source


def test_publish_takes_what_can_be_passed_on(tmp_path):
    source, target = tmp_path / "study", tmp_path / "published"
    write_paper_study(source, CELLS[:2])
    run_id = CELLS[0].run_id("iou")
    (source / run_id / "train.ipynb").write_text("{}")
    with pytest.raises(InputError, match="has no tables yet"):
        publish.publish(source, target)
    (source / "tables").mkdir()
    (source / "tables" / "runs.csv").write_text("run\n")
    path = source / run_id / "record.json"
    record = json.loads(path.read_text())
    record["params"]["data"] = "/home/somebody/faces"
    path.write_text(json.dumps(record))
    for link in (source / "tables" / "more.csv", source / "summary.png"):
        link.symlink_to(path)
        with pytest.raises(InputError, match="is a link; put the file itself there"):
            publish.publish(source, target)
        link.unlink()
    publish.publish(source, target)
    assert {file.name for file in (target / run_id).iterdir()} == {"record.json", "history.csv", "per_image.csv"}
    assert "somebody" not in "".join(file.read_text() for file in target.rglob("*") if file.is_file())
    assert outputs.read_study(target).keys() == outputs.read_study(source).keys()
    before = {file: file.read_bytes() for file in target.rglob("*") if file.is_file()}
    with pytest.raises(InputError, match="exists and is kept"):
        publish.publish(source, target)
    assert before == {file: file.read_bytes() for file in target.rglob("*") if file.is_file()}


def test_the_conclusion_has_the_figures_of_the_published_runs():
    text = " ".join((PROJECT / "outputs" / "published" / "CONCLUSION.md").read_text(encoding="utf-8").split())
    studies = {name: outputs.read_study(PROJECT / "outputs" / "published" / name)
               for name in (*conditions.STUDIES, "small")}
    assert f"{sum(len(studies[name]) for name in conditions.STUDIES if name != 'resampled')} runs in [losses]" in text

    def says(effect, pattern, sign=1):
        ends = sorted((sign * effect.low, sign * effect.high))
        figures = [f"{figure:.3f}".replace("-", "−") for figure in (sign * effect.difference, *ends)]
        assert pattern.format(*figures) in text, (pattern, figures)

    found = {name: {each.name: each for each in conditions.conditions(study)} for name, study in studies.items()}
    both = list(found["losses"].values())
    says(conditions.compare(both, "iou", "iou_soft"), "IoU loss is ahead by {} ({} to {}) over both networks")
    says(conditions.compare(both, "iou", "iou"), "a tenth of that is left, {} ({} to {})")
    says(conditions.compare(both, "iou", "iou_tuned"), "the validation part prefers {} ({} to {})")
    says(conditions.compare([found["losses"]["FCResNet"]], "iou", "iou"), "IoU loss is ahead by {} ({} to {}), and Dice")
    says(conditions.compare([found["losses"]["BFCN-32s"]], "iou", "iou"), "half an IoU point (+{}, {} to {})")
    resampled = list(found["resampled"].values())
    assert len(studies["resampled"]) == 40 and max(run.record["epochs_run"] for run in studies["resampled"].values()) < 100
    says(conditions.compare(resampled, "iou", "iou_soft"), "IoU′ says {} ({} to {})")
    says(conditions.compare(resampled, "iou", "iou"), "IoU at 0.5 says {} ({} to {})")
    says(conditions.compare([found["resampled"]["FCResNet"]], "iou", "iou"), "FCResNet's lead is {} ({} to {})")
    says(conditions.compare([found["resampled"]["BFCN-32s"]], "iou", "iou"), "BFCN-32s's {} ({} to {})")
    drawn = found["synthetic"]
    for name, pattern in (("BFCN-32s, learning rate 0.0003", "BFCN-32s shows no difference (+{}, {} to {})"),
                          ("FCResNet, learning rate 0.0003", "on FCResNet IoU loss is ahead by {} ({} to {}), and the seven"),
                          ("FCResNet, learning rate 0.001", "at 1e-3 the lead is {} ({} to {})"),
                          ("FCResNet, learning rate 0.003", "at 3e-3 {} ({} to {})"),
                          ("FCResNet, learning rate 0.01", "at 1e-2 {} ({} to {})")):
        says(conditions.compare([drawn[name]], "iou", "iou"), pattern)
    says(conditions.compare([drawn["FCResNet, learning rate 0.03"]], "iou", "iou"), "to BCE's side by {} ({} to {})", -1)
    best = {tuple(row[:2]): row for row in conditions.best_rates_table(studies["synthetic"]).rows}
    says(stats.Effect(*best["FCResNet", "IoU"][8:12], 5, "seeds"), "for BCE, {} ({} to {}) is left")
    assert best["FCResNet", "IoU"][2:4] == [5, 3e-4] and best["FCResNet", "BCE"][2:4] == [5, 3e-3]
    assert sum(map(is_capped, drawn["FCResNet, learning rate 0.003"].runs["bce"].values())) == 2
    leads = [row for row in conditions.losses_table(studies["synthetic"]).rows
             if row[0] == "FCResNet, learning rate 0.0003" and row[1] not in ("BCE", "IoU")]
    assert [f"{each(row[4] for row in leads):.3f}" for each in (min, max)] == ["0.092", "0.104"]
    assert len(leads) == 7 and max(row[7] for row in leads) < 0.05
    better = [np.mean([run.record["scores"]["calibration_error"] for run in each.runs["bce"].values()])
              < np.mean([run.record["scores"]["calibration_error"] for run in each.runs["iou"].values()])
              for study in found.values() for each in study.values() if "calibration_error" in
              next(iter(each.runs["iou"].values())).record["scores"]]
    assert len(better) - sum(better) == 1 and "in all conditions but one" in text
    to_iou = [row for row in conditions.losses_table(studies["losses"], reference="iou").rows if row[1] != "IoU"]
    assert [f"{row[4]:.3f}" for row in to_iou if row[1] == "Jaccard distance"] == ["0.001", "0.004"]
    assert f"(smallest p {min(row[7] for row in to_iou if row[4] > 0):.2f})" in text
    for name, pattern, sign in (("BFCN-32s, synthetic share 0.3", "alike on BFCN-32s (+{}, {} to {};", 1),
                                ("FCN-8s, synthetic share 0.3", "and FCN-8s ({}, {} to {})", 1)):
        says(conditions.compare([found["sparsity"][f"{name}, epochs 40, learning rate 0.001"]], "iou", "iou"), pattern, sign)
    at = {rate: [each for each in found["sparsity"].values() if each.params["learning_rate"] == rate
                 and each.params["synthetic_share"] <= 0.03] for rate in (3e-4, 1e-3)}
    assert [len(each) for each in at.values()] == [6, 6]
    says(conditions.compare(at[1e-3], "iou", "iou"), "(at 3 % and less by {}, {} to {}, over both networks)", -1)
    says(conditions.compare(at[3e-4], "iou", "iou"), "all six conditions of 3 % and less, by {} ({} to {}) together")
    alone = [conditions.compare([each], "iou", "iou") for each in at[3e-4]]
    assert all(effect.low < 0 < effect.difference for effect in alone)
    assert [sum(each.collapsed(loss) for each in at[3e-4]) for loss in ("iou", "bce")] == [0, 4]
    assert all(each.params["synthetic_share"] == 0.003 for each in at[3e-4] if each.collapsed("bce"))
    best = {tuple(row[:2]): row[3] for row in conditions.best_rates_table(studies["sparsity"]).rows if row[2] == 2}
    chosen = {(each.at_any_rate, each.params["learning_rate"]): each for each in at[3e-4] + at[1e-3]}
    pairs = [(chosen[where, best[where, "IoU"]], chosen[where, best[where, "BCE"]]) for where, loss in best if loss == "IoU"]
    says(intervals.crossed_t([ours.scores("iou", "iou", range(5)) - theirs.scores("bce", "iou", range(5))
                              for ours, theirs in pairs], [data.people(ours.ids()) for ours, _ in pairs]),
         "of the two rates by its validation part {} ({} to {}) is left: undecided")
    says(conditions.compare([found["parts"]["LFW, small, hair"]], "iou", "iou"), "is {} better after BCE ({} to {})", -1)
    verdicts = {row[:2][1]: row[9] for row in conditions.losses_table(studies["losses"]).rows if row[0] == "BFCN-32s"}
    assert sum(str(verdict).startswith("equivalent") for verdict in verdicts.values()) == 7  # IoU loss and six others
    assert verdicts["Tversky"] == "undecided"
    below = {row[1]: row[7] for row in conditions.losses_table(studies["losses"]).rows if row[0] == "FCResNet" and row[7]}
    assert {loss for loss, p in below.items() if p < 0.05} == {"Jaccard distance", "Tversky", "BCE + IoU"}
    assert f"(IoU loss {below['IoU']:.3f})" in text
    capped = [run for run in studies["losses"].values() if run.cell.model == "fcresnet" and run.record["epochs_run"] >= 40]
    assert [sum(run.loss == loss for run in capped) for loss in ("bce", "iou")] == [4, 0]
    assert "8 of 25 BFCN-32s runs with IoU loss and 3 of 25 with BCE ended in a constant mask, and 5 and 0 of 25" in text
    assert [sum(each.collapsed(loss) for name, each in found["sparsity"].items()
                if name.startswith(model) and name.endswith(" 0.001"))
            for model in ("BFCN-32s", "FCN-8s") for loss in ("iou", "bce")] == [8, 3, 5, 0]
    for name, pattern in (("FCN-8s", "FCN-8s gains {} ({} to {};"), ("SegNet", "SegNet {} ({} to {})"),
                          ("U-Net", "the best of all, {} ({} to {})")):
        says(conditions.compare([found["networks"][name]], "iou", "iou"), pattern)
    rates = {tuple(row[:2]): row for row in conditions.best_rates_table(studies["rates"]).rows}
    readme = " ".join((PROJECT / "README.md").read_text(encoding="utf-8").split())
    for figures in ("0.017 (0.006 to 0.028)", "0.005 (0.001 to 0.010)"):  # whose values are compared above and below
        assert figures in text and figures in readme
    for model, pattern in (("FCResNet", "FCResNet's lead is {} ({} to {}) and BFCN-32s's"),
                           ("BFCN-32s", "and BFCN-32s's {} ({} to {}); with")):
        says(stats.Effect(*rates[model, "IoU"][8:12], 5, "seeds"), pattern)
    at_best = [row[6] for (model, _), row in rates.items() if model == "BFCN-32s"]
    assert len(at_best) == 9 and max(at_best) - min(at_best) < 0.005
    fast = found["rates"]["BFCN-32s, epochs 40, learning rate 0.003"]
    assert {loss for loss in fast.runs if fast.collapsed(loss)} == {"iou", "dice", "tversky", "focal_tversky",
                                                                    "lovasz_sigmoid"} and fast.collapsed("iou") == 2
    inside = [row[3] for (model, _), row in rates.items() if model == "FCResNet"]
    assert sorted(inside) == [1e-4, 3e-3] and all(row[2:5:2] == [6, 5] for (m, _), row in rates.items() if m == "FCResNet")
    variants = {name: conditions.compare([each], "iou", "iou") for name, each in found["ablation"].items()}
    open_ones = [effect for name, effect in variants.items() if name.startswith("BFCN-32s")]
    assert "between −{:.3f} and {:.3f}, the most ({:.3f} to {:.3f})".format(
        -min(open_ones).difference, *max(open_ones)[:3]) in text and max(open_ones) == variants[
            "BFCN-32s, trained batch norm, rmsprop epsilon 1e-14, own reduction, stopping on validation loss"]
    for name in ("losses", "networks", "rates", "ablation", "resampled"):  # where training worked
        for each in found[name].values():
            if not each.collapsed("iou"):
                assert 0.03 <= conditions.compare([each], "iou", "iou_soft").difference < 0.0995, (name, each.name)
                assert conditions.compare([each], "iou", "iou").difference < 0.02, (name, each.name)
    says(conditions.compare([found["ablation"]["FCResNet, frozen batch norm, rmsprop epsilon 1e-14, own reduction, stopping on validation IoU at 0.5"]], "iou", "iou"),
         "frozen it is {} ({} to {}) on FCResNet")
    assert found["losses"]["FCResNet"].collapsed("lovasz_sigmoid") == 2
    says(conditions.mixed_model([studies["losses"]]).interactions["fcresnet"], "the two networks differ by {}, {} to {}, for")
    both = conditions.mixed_model([studies["losses"], studies["networks"]])  # as `beyond.ipynb` has it
    assert both.remark == "the variance of the seeds is 0 within the fit's precision" and len(both.interactions) == 4
    cells, values = scores(studies["small"], "iou")
    fcresnet = np.mean([pair for cell, pair in zip(cells, values) if cell[:2] == ("fcresnet", "lfw")], axis=0)
    assert "({:.3f} after IoU loss, {:.3f} after BCE".format(*fcresnet) in text
