"""The study of 32 runs: `python -m lib.study plan | run | status | report | check | publish | rerun | doctor`.

    python -m lib.study run --profile demo                       # the embedded default, minutes on a laptop
    python -m lib.study run --profile small --data ROOT          # real faces on a CPU
    python -m lib.study run --profile paper --data ROOT          # Table 2 at full size, for a GPU

A run is done when its record stands in `<out>/<run_id>/` under the key of its parameters, notebook, code and data.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from lib import InputError, batch, data
from lib.config import PROJECT, Config
from lib.estimate import duration, estimate
from lib.profiles import configurations
from lib.provenance import key, key_parts
from lib.results import SUPERSEDED, read_run, read_study


@dataclass(frozen=True)
class Planned:
    """One run of a study and how it stands: done, stale, failed, running, interrupted or waiting; `detail` has more."""

    config: Config
    state: str
    detail: str = ""
    seconds: float = 0.0
    images: int | None = None  # of its data set, where a record tells


def state(config: Config, study: Path, any_code: bool = False) -> Planned:
    """How one run stands in a study folder; with `any_code` it may have been done by another version of the code."""
    folder, failed = study / config.run_id, study / batch.FAILED / config.run_id
    if os.path.lexists(folder):
        try:
            record = read_run(folder).record
        except InputError as error:
            return Planned(config, "stale", str(error))
        detail = f"IoU {record['scores']['iou']:.4f}, {record['epochs_run']} epochs"
        try:
            parts = key(config)[1]
        except InputError as error:
            parts, detail = key_parts(config), f"its data cannot be checked: {error}"
        if changed := [part for part in parts if parts[part] != record.get("key_parts", {}).get(part)
                       and not (any_code and part in ("code", "notebook"))]:
            return Planned(config, "stale", "was run with other " + ", ".join(changed))
        return Planned(config, "done", detail, record["seconds"].get("total", 0.0), record["data"].get("images"))
    begun = []
    for workspace in (study / batch.RUNNING).glob(f"{config.run_id}-????????"):
        with contextlib.suppress(FileNotFoundError):  # it ended just now
            begun.append((workspace.stat().st_mtime, workspace))
    if begun and is_active(study):
        since, workspace = max(begun)
        return Planned(config, "running", f"for {duration(max(0, time.time() - since))}"
                       + progress(workspace / config.run_id / batch.NOTEBOOK.name))
    if failed.exists():
        error = failed / "error.txt"
        text = error.read_text(encoding="utf-8", errors="replace").strip() if error.is_file() else "its error is not there"
        return Planned(config, "failed", f"{text} ({failed / batch.NOTEBOOK.name})")
    if begun:
        return Planned(config, "interrupted", "by the end of its driver; the same `run` does it again")
    return Planned(config, "waiting")


def progress(notebook: Path) -> str:
    """Where a notebook at work stands, as papermill last saved it: ", cell 9, epoch 4: loss ...", or nothing."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):  # not there yet, or being written
        return ""
    for number, cell in enumerate((cell for cell in cells if cell["cell_type"] == "code"), 1):
        if cell["metadata"].get("papermill", {}).get("status") == "running":
            shown = [" ".join("".join(output["data"]["text/markdown"]).split()) for output in cell["outputs"]
                     if "text/markdown" in output.get("data", {})]
            return ", ".join(["", f"cell {number}", *shown[-1:]])
    return ""


def is_active(study: Path) -> bool:
    """Whether a `run` is at work on this study folder, which may be one that can only be read."""
    try:
        with FileLock(study / ".lock").acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # the lock cannot be opened for writing
        with contextlib.suppress(ImportError, OSError), open(study / ".lock", encoding="utf-8") as file:
            import fcntl
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        return (study / ".lock").exists()


def plan(configs: list[Config], study: Path, any_code: bool = False) -> list[Planned]:
    """How every run stands."""
    return [state(config, study, any_code) for config in configs]


def run(configs: list[Config], study: Path, where: "cluster.Where", force: bool = False, any_code: bool = False,
        timeout: float | None = None) -> int:
    """Executes the runs that are not done, with a progress bar; returns how many failed.

    `where` and `timeout` are those of `cluster.execute_all`, `any_code` that of `state`.

    Raises:
        InputError: missing data, a folder that cannot be written, or another `run` at work on it.
    """
    from lib import cluster
    for config in {str(config.dataset_arguments()): config for config in configs}.values():
        key(config)  # missing data are reported before anything starts
    if force or any(p.state != "done" for p in plan(configs, study, any_code)):
        cluster.refuse_unreachable(where)
        if not (where.scheduler or where.cluster):
            batch.check_machine()
    with batch.locked(study):
        if not (where.shared and (where.scheduler or where.cluster)):  # nobody else is at work: remains of other drivers
            shutil.rmtree(study / batch.RUNNING, ignore_errors=True)
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
                    kept = study / batch.FAILED / outcome["run_id"]
                    bar.write(f"FAILED {outcome['run_id']}: {outcome['error']}" + f" (see {kept})" * kept.exists())
                else:
                    record = read_run(study / outcome["run_id"]).record
                    bar.write(f"{outcome['run_id']:34} IoU {record['scores']['iou']:.4f}  accuracy "
                              f"{record['scores']['accuracy']:.4f}  {record['epochs_run']:4} epochs "
                              f"{outcome['seconds']:6.0f} s")
                bar.update()
            if todo:
                cluster.execute_all(todo, study, replace(where, workers=min(where.workers, len(todo))), done, timeout)
        print(f"{len(todo) - len(failures)} runs finished, {len(failures)} failed", flush=True)
        return len(failures)


def decode(configs: list[Config]) -> None:
    """Decodes the data of these runs into the cache, so that corrupt files are reported once, before any run starts.

    Synthetic faces are left to the runs, which draw both data sets at once.
    """
    for config in {(str(c.dataset_arguments()), c.image_size): c for c in configs if c.data != "synthetic"}.values():
        dataset = data.load(image_size=config.image_size, **config.dataset_arguments())
        data.split(len(dataset.ids), config.dataset, config.size)


def show(planned: list[Planned], workers: int) -> None:
    """Prints how every run stands, and the estimate."""
    for p in planned:
        print(f"{p.config.run_id:34} {p.state:8} {p.detail}")
    print(estimate(planned, workers))


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lib.study", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in (("plan", "list the runs, what is done, and an estimate"),
                          ("run", "execute the runs that are not done"),
                          ("status", "how every run stands"),
                          ("report", "execute the analysis and write tables and report.html"),
                          ("check", "recompute every score from the stored maps"),
                          ("publish", "copy what can be passed on: no pictures of people"),
                          ("rerun", "run a record's run again and compare"),
                          ("doctor", "check this machine, with a remedy for each fault")):
        sub = commands.add_parser(command, help=text)
        sub.set_defaults(profile="demo", data=None, out=None, only="*", seed=None, seeds=None, workers=None)
        executes, stored = command in ("run", "plan", "status"), command in ("report", "check", "publish")
        if executes or stored:
            sub.add_argument("--profile", help="a file of params/profiles (default: demo)")
            sub.add_argument("--seed", type=int, help="seed of every run (default: 0)")
            sub.add_argument("--seeds", type=int, metavar="N", help="repeat every run with the seeds 0 to N-1")
            sub.add_argument("--out", help="the study's folder (default: outputs/<profile>[-seed<N>|-<N>seeds])")
        if command == "rerun":
            sub.add_argument("--out", help="a folder for the new run (default: outputs/rerun)")
        if executes or command in ("rerun", "doctor"):
            sub.add_argument("--data", help="folder of the archives, or `synthetic` (default: the profile's)")
        if executes:
            sub.add_argument("--only", metavar="GLOB", help="run ids, for example '*-lfw-big-*'")
            sub.add_argument("--workers", type=int, help="notebooks at a time (default: one a GPU, else one a core)")
        if command == "run":
            sub.add_argument("--scheduler", metavar="ADDRESS", help="use this Dask scheduler's workers")
            sub.add_argument("--cluster", metavar="FILE", help="start the workers of this file of params/clusters")
            sub.add_argument("--no-shared-files", action="store_true",
                             help="send the data to these workers once, and take the runs back")
            sub.add_argument("--force", action="store_true", help="repeat finished runs; the old ones are kept")
            sub.add_argument("--timeout", type=float, metavar="MINUTES",
                             help="end a run whose training takes longer (default: no limit)")
        if executes:
            sub.add_argument("--any-code", action="store_true",
                             help="count runs of other versions of the code and notebook as done")
        if command == "rerun":
            sub.add_argument("record", help="a record.json")
        if command == "publish":
            sub.add_argument("--to", required=True, help="the new folder")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status: 0, 1 if runs failed, 2 for bad input."""
    options = arguments(argv)
    try:
        check_paths(options)
        if options.workers is not None and options.workers < 1:
            raise InputError(f"--workers: {options.workers} will not do, give 1 or more")
        if options.seeds is not None and (not 1 <= options.seeds <= 10_000 or options.seed is not None):
            raise InputError("--seeds: give a number from 1 to 10000, and no --seed beside it")
        if getattr(options, "timeout", None) is not None and not 0 < options.timeout <= 1e6:
            raise InputError(f"--timeout: {options.timeout:g} will not do, give minutes above 0, a million at most")
        workers = options.workers or len(batch.gpus()) or batch.cores()
        overrides = {"seed": options.seed} if options.seed is not None else {}
        if options.data:
            overrides["data"] = options.data if options.data == "synthetic" else str(Path(options.data).resolve())
        suffix = f"-seed{options.seed}" if options.seed else f"-{options.seeds}seeds" if options.seeds else ""
        study = Path(options.out or PROJECT / "outputs" / (options.profile + suffix)).resolve()
        if options.command == "doctor":
            from lib import doctor
            return doctor.report(overrides.get("data"))
        if options.command == "rerun":
            from lib import inspection, rerun
            out = study if options.out else inspection.OUTPUTS / inspection.RERUN
            print(rerun.comparison(*rerun.rerun(Path(options.record), out, overrides.get("data"))))
            return 0
        if options.command == "report":
            from lib import report
            print(report.write(study))
            return 0
        if options.command == "check":
            from lib import check
            text, wrong = check.report(read_study(study))
            print(text)
            return int(wrong > 0)
        if options.command == "publish":
            from lib import publish
            print(publish.publish(study, Path(options.to).resolve()))
            return 0
        configs = configurations(options.profile, options.only, overrides, options.seeds)
        if options.command == "run":
            from lib import cluster
            where = cluster.Where(workers, options.scheduler, options.cluster and Path(options.cluster),
                                not options.no_shared_files)
            if not where.shared and not (where.scheduler or where.cluster) or where.scheduler and where.cluster:
                raise InputError("--no-shared-files: give --scheduler or --cluster with it, and only one of the two")
            return 1 if run(configs, study, where, options.force, options.any_code, options.timeout) else 0
        show(plan(configs, study, options.any_code), workers)
        return 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError as error:
        if options.command in ("plan", "status"):  # `| head` has read enough
            return 0
        print(f"error: {error.strerror}: what read the output has ended; type the same command again without it",
              file=sys.stderr)
        return 2
    except OSError as error:  # a folder that cannot be entered, a name that is too long, a full disk
        print(f"error: {error.filename or 'the output'}: {error.strerror or error}; use another path, make room or change its "
              "permissions", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; finished runs are kept, the same command goes on from here", file=sys.stderr)
        return 130


def check_paths(options: argparse.Namespace) -> None:
    """Raises InputError for paths that cannot be written into a record, and where the working directory is gone."""
    try:
        os.getcwd()
    except OSError as error:
        raise InputError("the working directory is gone; change to another one") from error
    for name in ("out", "to", "record", "cluster"):  # `config` checks --data
        value = getattr(options, name, None) or ""
        if any(ord(sign) < 32 or 0xD800 <= ord(sign) < 0xE000 for sign in value):  # the latter stand for foreign bytes
            raise InputError(f"--{name}: {value!r} has signs or bytes that are no text; give another path")


if __name__ == "__main__":
    from lib.signals import ignore_signals
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system stops a run as Ctrl-C does
    status = main()
    ignore_signals()  # what is left is Python's and Dask's own end
    try:
        sys.stdout.flush() if sys.stdout else None
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"error: the output: {error.strerror}; make room", file=sys.stderr)
            status = status or 2
    sys.exit(status)
