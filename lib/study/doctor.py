"""Is this machine ready? `python -m lib.study doctor` checks it and names a remedy for each problem."""

import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from packaging.requirements import Requirement

from lib import PROJECT, InputError, outputs, printable
from lib.checks import surroundings
from lib.data import cache, layouts
from lib.study import execute

SPACE = 5_000_000_000  # bytes, more than cache and results of the small profile need


@dataclass(frozen=True)
class Finding:
    """Outcome of one check. `remedy` is "" if there is no problem; `fatal`: no study can run on this machine."""

    name: str
    detail: str
    remedy: str = ""
    fatal: bool = False


def python() -> Finding:
    """Whether the project supports this version of Python."""
    wanted = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    low, high = (tuple(map(int, version.split("."))) for version in re.findall(r"[\d.]+", wanted))
    fits = low <= sys.version_info[:2] < high
    return Finding(
        "Python", sys.version.split()[0], "" if fits else f"use Python {wanted}: make PYTHON=python3.12", not fits
    )


def packages() -> Finding:
    """Whether the installed packages are those of the lock file."""
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    pinned = [Requirement(line.rstrip(" \\")) for line in lock.splitlines() if re.match(r"[\w.-]+==", line)]
    pinned = [requirement for requirement in pinned if not requirement.marker or requirement.marker.evaluate()]
    other = []
    for requirement in pinned:
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:  # only the tests need it
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            other.append(f"{requirement.name} {found} instead of {requirement.specifier}")
    detail = f"{len(pinned)} pinned" + (f"; {len(other)} differ: {', '.join(other)}" if other else ", none differs")
    return Finding(
        "packages", detail, "make setup installs the locked ones; results may differ with others" if other else ""
    )


def settings() -> Finding:
    """Settings of the user's libraries: those that stop every run, and those that no run uses."""
    try:
        surroundings.check()
        found = surroundings.overruled()
    except InputError as error:
        what, _, remedy = str(error).partition("; ")
        return Finding("settings", what, remedy, fatal=True)
    return Finding("settings", f"not used in runs: {', '.join(found)}" if found else "none that would change a run")


def backend() -> Finding:
    """The backend of Keras, and its device."""
    try:
        from lib.checks.backend import keras

        device = str(keras.ops.convert_to_tensor(0.0).device).split("device:")[-1]
    except Exception as error:  # a missing or broken backend raises any type
        return Finding(
            "backend",
            f"{os.environ.get('KERAS_BACKEND', 'tensorflow')}: {error}",
            "install that backend, or unset KERAS_BACKEND"
            if os.environ.get("KERAS_BACKEND")
            else f"set KERAS_BACKEND to one of {', '.join(surroundings.BACKENDS)} that is installed",
            fatal=True,
        )
    gpus = execute.gpus()
    unused = gpus and "gpu" not in device.lower() and "cuda" not in device.lower()
    return Finding(
        "backend",
        f"{keras.backend.backend()}, Keras {keras.__version__}, on {device}; {len(gpus)} GPUs",
        'pip install "tensorflow[and-cuda]" at the locked version: the GPUs are not used' if unused else "",
    )


def kernel() -> Finding:
    """Whether a notebook runs in its own kernel, over sockets in a temporary folder as in a study."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in.ipynb", Path(folder) / "out.ipynb"
        nbformat.write(new_notebook(cells=[new_code_cell("import lib; 6 * 7")], metadata=metadata), source)
        try:
            execute.execute_notebook(source, output, {}, {}, Path(folder) / "kernel.log")
            answer = nbformat.read(output, 4).cells[-1].outputs[0]["data"]["text/plain"]
        except Exception as error:  # many errors can stop a kernel from starting
            return Finding(
                "kernel",
                f"{type(error).__name__}: {error}",
                "make setup; check that TMPDIR can be written and its path is shorter than 80 characters",
                fatal=True,
            )
    return Finding("kernel", f"runs a notebook: 6 * 7 = {answer}")


def disk() -> Finding:
    """Whether cache and results can be written and there is space for them."""
    try:
        folder = cache.cache_root()
        (folder / ".doctor").touch()
        (folder / ".doctor").unlink()
    except (InputError, OSError) as error:
        return Finding("disk", str(error), "set IOU_STUDY_CACHE to a folder that can be written", fatal=True)
    free = shutil.disk_usage(folder).free
    return Finding(
        "disk",
        f"{free / 1e9:.0f} GB free for {folder}",
        "" if free > SPACE else "make room, or set IOU_STUDY_CACHE to a larger disk",
    )


def dataset(name: str, root: str | None) -> Finding:
    """Whether a data set is there, with its published checksum."""
    from lib.data import fetch

    title = layouts.DATASETS[name].title
    try:
        folder = cache.data_root(root)
        if folder == "synthetic":
            return Finding(title, "synthetic faces, drawn on first use")
        found = layouts.find(name, folder)
    except InputError as error:
        return Finding(title, "not here; the profile demo needs none", str(error))
    details, wrong = [], []
    checksums = {remote.file: remote.checksum for remote in fetch.REMOTES.get(name, ())}
    for container in found:
        checksum = checksums.get(container.path.name) if container.path.is_file() else None
        matches = checksum and fetch.matches(container.path, checksum)
        details.append(
            f"{container.path.name}: "
            + ("as published" if matches else "not as published" if checksum else "no published checksum applies")
        )
        wrong += [container.path.name] if checksum and not matches else []
    return Finding(
        title, "; ".join(details), "tables say so; if this is not intended, fetch the official file" if wrong else ""
    )


def studies() -> Finding:
    """The studies, and which of their runs cannot be read."""
    found = outputs.studies()
    problems = [problem for state in found for problem in state.problems]
    return Finding(
        "studies",
        ", ".join(f"{state.name}: {len(state.done)} done, {len(state.failed)} failed" for state in found) or "none yet",
        "; ".join(problems),
    )


def findings(root: str | None = None) -> Iterator[Finding]:
    """Every check in turn, the fast ones first; `root` is the data root."""
    checks: dict[str, Callable[[], Finding]] = {
        "Python": python,
        "packages": packages,
        "disk": disk,
        "studies": studies,
    }
    checks |= {facts.title: partial(dataset, name, root) for name, facts in layouts.DATASETS.items()}
    for name, check in (checks | {"settings": settings, "backend": backend, "kernel": kernel}).items():
        try:
            yield check()
        except (InputError, OSError) as error:  # what cannot be read is reported, and the other checks go on
            yield Finding(name, str(error), "change its permissions or get the file again")


def report(root: str | None = None) -> int:
    """Prints every finding; returns the exit status: 1 if a study cannot run on this machine."""
    fatal = False
    for finding in findings(root):
        mark = "FAIL" if finding.fatal else "look" if finding.remedy else "ok"
        print(f"{mark:5}{finding.name:18}{printable(finding.detail)}", flush=True)
        if finding.remedy:
            print(f"{'':23}-> {printable(finding.remedy)}", flush=True)
        fatal |= finding.fatal
    return 1 if fatal else 0
