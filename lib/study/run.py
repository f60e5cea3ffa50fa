"""Executes the runs of a study that are not done."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from lib import InputError, packs
from lib.config import Config
from lib.data import datasets
from lib.provenance import key
from lib.record import SUPERSEDED, read_run
from lib.study import execute
from lib.study.plan import plan

if TYPE_CHECKING:
    from lib.study import workers


def run(
    configs: list[Config],
    study: Path,
    where: "workers.Where",
    force: bool = False,
    any_code: bool = False,
    timeout: float | None = None,
) -> int:
    """Executes the runs that are not done, with a progress bar; returns how many failed.

    `where` and `timeout` are those of `workers.execute_all`, `any_code` that of `state`.

    Raises:
        InputError: missing data, a folder that cannot be written, or another `run` at work on it.
    """
    from lib.study import workers  # here, as Dask takes a second to import

    if packs.is_packed(study):
        raise InputError(f"--out: {study} is a packed study, to be read only; choose another folder")
    if not (where.scheduler or where.cluster):
        execute.check_machine()  # first of all: a key may need Keras
    for config in {str(config.dataset_arguments()): config for config in configs}.values():
        key(config)  # missing data are reported before anything starts
    if force or any(p.state != "done" for p in plan(configs, study, any_code)):
        workers.refuse_unreachable(where)
    with execute.locked(study):
        if not (
            where.shared and (where.scheduler or where.cluster)
        ):  # nobody else is at work: remains of other drivers
            shutil.rmtree(study / execute.RUNNING, ignore_errors=True)
        planned = plan(configs, study, any_code)
        todo = [p.config for p in planned if force or p.state != "done"]
        for stale in (p for p in planned if p.state == "stale"):
            print(f"{stale.config.run_id} {stale.detail}: it runs again, the old one is kept in {SUPERSEDED}/")
        print(f"{study}: {len(planned) - len(todo)} runs are done, {len(todo)} to do", flush=True)
        decode(todo)
        failures = []
        with tqdm(total=len(todo), unit="run", dynamic_ncols=True, disable=not todo) as bar:

            def done(outcome):
                if outcome["error"]:
                    failures.append(outcome["run_id"])
                    kept = study / execute.FAILED / outcome["run_id"]
                    bar.write(f"FAILED {outcome['run_id']}: {outcome['error']}" + f" (see {kept})" * kept.exists())
                else:
                    record = read_run(study / outcome["run_id"]).record
                    bar.write(
                        f"{outcome['run_id']:34} IoU {record['scores']['iou']:.4f}  accuracy "
                        f"{record['scores']['accuracy']:.4f}  {record['epochs_run']:4} epochs "
                        f"{outcome['seconds']:6.0f} s"
                    )
                bar.update()

            if todo:
                workers.execute_all(todo, study, replace(where, workers=min(where.workers, len(todo))), done, timeout)
        print(f"{len(todo) - len(failures)} runs finished, {len(failures)} failed", flush=True)
        return len(failures)


def decode(configs: list[Config]) -> None:
    """Decodes the data of these runs into the cache, so that corrupt files are reported once, before any run starts.

    Synthetic faces are left to the runs, which draw both data sets at once.
    """
    for config in {(str(c.dataset_arguments()), c.image_size): c for c in configs if c.data != "synthetic"}.values():
        dataset = datasets.load(image_size=config.image_size, **config.dataset_arguments())
        datasets.split(len(dataset.ids), config.dataset, config.size)
