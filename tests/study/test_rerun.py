"""lib/study/rerun.py: what is not as in the record; `test_run.py` runs a record's run again."""

import pytest
from tiny_runs import RUN, tiny

from lib import InputError, packs
from lib.record import read_run
from lib.study import rerun


def test_a_rerun_says_what_is_not_as_in_the_record(recorded):
    folder, configs = recorded
    run = read_run(folder / configs[1].run_id)
    run.record["versions"]["numpy"] = "1.0"
    run.record["key_parts"]["code"] = "another"
    lines = rerun.differences(run, configs[1])
    assert len(lines) == 2 and lines[0].startswith("numpy 1.0, now ") and lines[1] == "other code"


@pytest.mark.parametrize(
    "change, line",
    [
        (
            lambda record: record["params"].pop("patience"),
            f"patience is not in the record, now {tiny(RUN + 'bce')[0].patience}",
        ),
        (lambda record: record["key_parts"].update(data="another"), "other data"),
        (lambda record: record["versions"].update(cpu="Z80"), "cpu Z80, now "),
    ],
    ids=["newer parameter", "data", "processor"],
)
def test_a_rerun_names_each_change(recorded, change, line):
    folder, configs = recorded
    run = read_run(folder / configs[1].run_id)
    change(run.record)
    if "patience" not in run.record["params"]:
        run.record["key_parts"]["parameters"] = "without it"
    (only,) = rerun.differences(run, configs[1])
    assert only.startswith(line)


def test_a_rerun_is_a_driver_too(recorded, tmp_path):
    from filelock import FileLock

    folder, configs = recorded
    with FileLock(tmp_path / ".lock"), pytest.raises(InputError, match="another `run` is at work"):
        rerun.rerun(folder / configs[1].run_id, tmp_path)


def test_of_a_packed_study_a_run_is_named(recorded, tmp_path):
    folder, configs = recorded
    (tmp_path / "packed").mkdir()
    packs.write(tmp_path / "packed", [read_run(folder / config.run_id) for config in configs])
    with pytest.raises(InputError, match="is a study; name one of its runs too"):
        rerun.rerun(tmp_path / "packed", tmp_path / "out")
    with pytest.raises(InputError, match="has no finished run 'another'"):
        rerun.rerun(tmp_path / "packed", tmp_path / "out", run_id="another")
    (tmp_path / "out" / configs[0].run_id).mkdir(parents=True)
    with pytest.raises(InputError, match="exists and is kept"):  # found, so the run is the one that was named
        rerun.rerun(tmp_path / "packed", tmp_path / "out", run_id=configs[0].run_id)
