"""Runs the run of a record again and prints the differences: `python -m lib.study rerun RECORD`."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path

from lib import InputError, packs, printable
from lib.checks import surroundings
from lib.config import Config, recorded
from lib.outputs import count_finished, read_study
from lib.provenance import key, versions
from lib.record import METRICS, Run, read_run
from lib.study import execute


def rerun(record: Path, study: Path, root: str | None = None, run_id: str = "") -> tuple[Run, Run]:
    """Executes the training notebook with a record's parameters into the folder `study`.

    Args:
        record: a `record.json`, its folder, or with `run_id` the folder of its study, packed or not.
        root: the data root, if it is not that of the record.
    Returns:
        (the run of the record, the new run).
    Raises:
        InputError: a record that cannot be read, a run that is already in `study`, or a run that failed.
    """
    execute.check_machine()
    first = _find(record.resolve(), run_id)
    try:
        config = recorded(first.record["params"])
    except InputError as error:
        raise InputError(f"{first.folder / 'record.json'}: {error}") from error
    config = replace(config, data=root) if root else config
    if (study / config.run_id).exists():
        raise InputError(f"--out: {study / config.run_id} exists and is kept; give another folder with --out")
    if packs.is_packed(study):
        raise InputError(f"--out: {study} is a packed study, which is read-only; choose another folder")
    changed = differences(first, config)
    print(
        "\n".join(["Not as in the record:", *changed])
        if changed
        else "Versions, processor, code, notebook and data are the record's.",
        flush=True,
    )
    with execute.locked(study):
        for remains in (study / execute.RUNNING).glob(f"{config.run_id}-????????"):  # of one that was interrupted
            shutil.rmtree(remains, ignore_errors=True)
        outcome = execute.execute(config, study)
    if outcome["error"]:
        raise InputError(f"{config.run_id}: {outcome['error']} (see {study / execute.FAILED / config.run_id})")
    return first, read_run(study / config.run_id)


def _find(record, run_id):
    if run_id:
        study = read_study(record)
        if run_id not in study:
            raise InputError(
                f"{record}: has no finished run {run_id!r}; `python -m lib.study status` lists those of a study"
            )
        return study[run_id]
    if record.is_dir() and not (record / "record.json").exists() and count_finished(record):
        raise InputError(f"{record}: is a study; name one of its runs too: `python -m lib.study rerun {record} RUN_ID`")
    if not record.is_dir() and record.name != "record.json":
        raise InputError(f"{record}: is not a record; give a record.json, the folder of a run, or a study and a run id")
    return read_run(record if record.is_dir() else record.parent)


def differences(run: Run, config: Config) -> list[str]:
    """Differences between a record and now: a line for each version, new parameter and other digest of the key.

    Raises InputError if the data are missing.
    """
    now, old = versions(), run.record["versions"]
    lines = [
        printable(f"{name} {str(old.get(name, 'not recorded'))[:200]}, now {now.get(name, 'not there')}"[:400])
        for name in sorted({*now, *old} - {"threads"})  # which are a parameter
        if now.get(name) != old.get(name)
    ]
    held = run.record.get("surroundings")  # not in early records
    lines += [
        f"{name} {held.get(name, 'not recorded')}, now {value}"
        for name, value in (surroundings.held() if held else {}).items()
        if held.get(name) != value
    ]
    newer = [
        f"{name} is not in the record, now {value!r}"
        for name, value in asdict(config).items()
        if name not in run.record["params"]
    ]
    parts = run.record.get("key_parts", {})
    return (
        lines
        + newer
        + [
            f"other {part}"
            for part, digest in key(config)[1].items()
            if parts.get(part) != digest and not (part == "parameters" and newer)
        ]
    )


def comparison(first: Run, second: Run) -> str:
    """The scores of both runs and whether they are the same, to the last bit."""
    names = (*METRICS, "best_epoch")
    values = [
        {**{name: run.score(name) for name in METRICS}, "best_epoch": run.record["best_epoch"]}
        for run in (first, second)
    ]
    lines = [
        f"{name:12}{values[0][name]:<22}{values[1][name]:<22}"
        + ("same" if values[0][name] == values[1][name] else f"{values[1][name] - values[0][name]:+.3g}")
        for name in names
    ]
    same = values[0] == values[1] and first.record["data"].get("digest") == second.record["data"].get("digest")
    return "\n".join(
        [
            f"{'':12}{'record':22}{'now':22}",
            *lines,
            "The same to the last bit." if same else "Not the same run to the last bit.",
        ]
    )
