"""The study of 32 runs: `python -m lib.study plan | run | status | report | check | publish | rerun | doctor`.

    python -m lib.study run --profile demo                       # the embedded default, minutes on a laptop
    python -m lib.study run --profile small --data ROOT          # real faces on a CPU
    python -m lib.study run --profile paper --data ROOT          # Table 2 at full size, for a GPU

A run is done if `<out>/<run_id>/` has its record with the key of its parameters, notebook, code and data.
"""

import argparse
import os
import sys
from pathlib import Path

from lib import InputError, outputs, outputs_folder
from lib.data.cache import typed_root
from lib.outputs import read_study
from lib.params import configurations
from lib.study import execute
from lib.study.plan import plan, show
from lib.study.run import run


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lib.study", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in (
        ("plan", "list the runs, their state, and an estimate of the time"),
        ("run", "execute the runs that are not done"),
        ("status", "show the state of every run"),
        ("report", "execute the analysis and write tables and report.html"),
        ("check", "recompute every score from the stored maps"),
        ("publish", "copy what may be shared: no images of real people"),
        ("rerun", "run the run of a record again and compare"),
        ("doctor", "check this machine and name a remedy for each problem"),
    ):
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
            sub.add_argument(
                "--data", help="folder of the archives, from where you are, or `synthetic` (default: the profile's)"
            )
        if executes:
            sub.add_argument("--only", metavar="GLOB", help="run ids, for example '*-lfw-big-*'")
            sub.add_argument(
                "--workers", type=int, help="notebooks in parallel (default: one per GPU, else one per core)"
            )
        if command == "run":
            sub.add_argument("--scheduler", metavar="ADDRESS", help="use this Dask scheduler's workers")
            sub.add_argument("--cluster", metavar="FILE", help="start the workers of this file in params/clusters")
            sub.add_argument(
                "--no-shared-files",
                action="store_true",
                help="send the data to the workers once and receive the finished runs",
            )
            sub.add_argument("--force", action="store_true", help="repeat finished runs; the old ones are kept")
            sub.add_argument(
                "--timeout",
                type=float,
                metavar="MINUTES",
                help="end a run whose training takes longer (default: no limit)",
            )
        if executes:
            sub.add_argument(
                "--any-code", action="store_true", help="count runs of other versions of the code and notebook as done"
            )
        if command == "rerun":
            sub.add_argument("record", help="a record.json, or a study's folder followed by a run id")
            sub.add_argument("run_id", nargs="?", default="", help="which run of the study's folder")
        if command == "publish":
            sub.add_argument("--to", required=True, help="the new folder")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status: 0, 1 if runs failed, 2 for bad input."""
    options = arguments(argv)
    try:
        check_paths(options)
        if options.workers is not None and options.workers < 1:
            raise InputError(f"--workers: {options.workers} is not valid, give 1 or more")
        if options.seeds is not None and (not 1 <= options.seeds <= 10_000 or options.seed is not None):
            raise InputError("--seeds: give a number from 1 to 10000, and no --seed with it")
        if getattr(options, "timeout", None) is not None and not 0 < options.timeout <= 1e6:
            raise InputError(f"--timeout: {options.timeout:g} is not valid, give minutes above 0, at most a million")
        workers = options.workers or len(execute.gpus()) or execute.cores()
        overrides = {"seed": options.seed} if options.seed is not None else {}
        if options.data:
            overrides["data"] = typed_root(options.data)
        suffix = f"-seed{options.seed}" if options.seed else f"-{options.seeds}seeds" if options.seeds else ""
        study = Path(options.out or outputs_folder() / (options.profile + suffix)).resolve()
        if options.command == "doctor":
            from lib.study import doctor

            return doctor.report(overrides.get("data"))
        if options.command == "rerun":
            from lib.study import rerun

            out = study if options.out else outputs_folder() / outputs.RERUN
            print(rerun.comparison(*rerun.rerun(Path(options.record), out, overrides.get("data"), options.run_id)))
            return 0
        if options.command == "report":
            from lib.study import report

            print(report.write(study))
            return 0
        if options.command == "check":
            from lib.study import check

            text, wrong = check.report(read_study(study))
            print(text)
            return int(wrong > 0)
        if options.command == "publish":
            from lib.study import publish

            print(publish.publish(study, Path(options.to).resolve()))
            return 0
        configs = configurations(options.profile, options.only, overrides, options.seeds)
        if options.command == "run":
            from lib.study.workers import Where

            where = Where(
                workers, options.scheduler, options.cluster and Path(options.cluster), not options.no_shared_files
            )
            if not where.shared and not (where.scheduler or where.cluster) or where.scheduler and where.cluster:
                raise InputError("--no-shared-files: give --scheduler or --cluster with it, and only one of the two")
            return 1 if run(configs, study, where, options.force, options.any_code, options.timeout) else 0
        show(plan(configs, study, options.any_code), workers)
        return 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError as error:
        if options.command in ("plan", "status"):  # `| head` reads only the first lines
            return 0
        print(
            f"error: {error.strerror}: the reader of the output has ended; run the same command again without it",
            file=sys.stderr,
        )
        return 2
    except OSError as error:  # a folder that cannot be opened, a name that is too long, a full disk
        print(
            f"error: {error.filename or 'the output'}: {error.strerror or error}; use another path, make room or "
            "change its permissions",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("\nstopped; finished runs are kept, the same command goes on from here", file=sys.stderr)
        return 130


def check_paths(options: argparse.Namespace) -> None:
    """Raises InputError for paths that cannot be written into a record, and if the working directory is gone."""
    try:
        os.getcwd()
    except OSError as error:
        raise InputError("the working directory is gone; change to another one") from error
    for name in ("out", "to", "record", "cluster"):  # `config` checks --data
        value = getattr(options, name, None) or ""
        if any(
            ord(sign) < 32 or 0xD800 <= ord(sign) < 0xE000 for sign in value
        ):  # the latter are bytes that are not UTF-8
            raise InputError(f"--{name}: {value!r} has characters or bytes that are not text; give another path")
