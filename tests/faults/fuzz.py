"""Every reader of the project on damaged and hostile input: `python tests/faults/fuzz.py --cases 10000 --seed 0`.

A case ends in a result or in `lib.InputError` with one printable sentence that names the file or parameter and a
remedy. All else is a defect: another exception, more than `SECONDS`, more than `MEGABYTES` of new memory, or a file
written outside the case's folder. Prints a table and exits with status 1 if there was a defect. The inputs are in
`fuzz_data.py`, `fuzz_parameters.py`, `fuzz_results.py` and `fuzz_calls.py`.
"""

import argparse
import contextlib
import io
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from lib import InputError

SECONDS, MEGABYTES = 5, 400
REMEDY = re.compile(
    r"\b(get|correct|use|give|delete|restore|run|set|write|rename|remove|make|move|read|choose"
    r"|leave|did you mean|must be|downloads|put|end)\b"
)


class Hang(BaseException):
    """Raised by the alarm; no reader's `except Exception` can hold it."""


@dataclass
class Reader:
    """A reader under test.

    `attempt(case, folder)` reads a case and may write below `folder` alone; each refusal has one of `names`.
    """

    title: str
    inputs: object  # a hypothesis strategy
    attempt: Callable
    names: tuple[str, ...]
    share: float = 1.0  # of the cases, relative to other readers


@dataclass
class Outcome:
    """What became of a reader's cases."""

    results: int = 0
    refusals: int = 0
    defects: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0

    @property
    def cases(self) -> int:
        return self.results + self.refusals + len(self.defects)


def fault_of(message: str, names: tuple[str, ...]) -> str | None:
    """What is wrong with the sentence of a refusal, or None."""
    if not message.isprintable():
        return "not one printable line"
    if len(message) > 1500:
        return f"{len(message)} characters long"
    if not any(name in message for name in names):
        return "names neither file nor parameter"
    return None if REMEDY.search(message) else "without a remedy"


# ---- damage ------------------------------------------------------------------------------------------------

CHANGE = st.tuples(
    st.sampled_from(["flip", "cut", "insert", "remove", "repeat", "zero"]),
    st.floats(0, 1),
    st.binary(min_size=1, max_size=8),
)

FEW = st.just([]) | st.lists(CHANGE, max_size=4)


def damage(content: bytes, changes) -> bytes:
    """Applies changes, each at a place from 0 (start) to 1 (end)."""
    for kind, where, extra in changes:
        at, n = int(where * len(content)), len(extra)
        content = {
            "flip": content[:at] + extra + content[at + n :],
            "cut": content[:at],
            "insert": content[:at] + extra + content[at:],
            "remove": content[:at] + content[at + 8 * n :],
            "repeat": content[:at] + content[max(0, at - 64) :],
            "zero": content[:at] + bytes(n) + content[at + n :],
        }[kind]
    return content


def damaged(*contents: bytes):
    """A strategy: one of the contents with up to four changes, often none, or any bytes."""
    changed = st.builds(damage, st.sampled_from(contents), FEW)
    return changed | changed | st.binary(max_size=64)


# ---- memory ------------------------------------------------------------------------------------------------


def forget_peak() -> None:
    """Starts the peak of this process's memory anew, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """The most memory that this process held at once since `forget_peak`, or since its start, in MB."""
    try:
        return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    except OSError:  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 ** (2 if sys.platform == "darwin" else 1)


# ---- cases -------------------------------------------------------------------------------------------------


def try_case(reader: Reader, case, outcome: Outcome, place: Path) -> None:
    """Runs one case in the new folder `place/case`; `place` holds nothing else but the file `secret`."""
    folder = place / "case"
    folder.mkdir()
    os.environ["IOU_STUDY_CACHE"] = str(folder / "cache")
    forget_peak()
    memory, start = peak(), time.perf_counter()
    fault, refused = None, False
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            reader.attempt(case, folder)
    except InputError as error:
        refused, fault = True, fault_of(str(error), reader.names)
        fault = fault and f"{fault}: {error}"[:500]
    except Hang:
        fault = f"more than {SECONDS} s"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        fault = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error}"[:500]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    seconds = time.perf_counter() - start
    grown = peak() - memory
    if grown > MEGABYTES:
        fault = f"{grown:.0f} MB of memory"
    shutil.rmtree(folder, ignore_errors=True)
    if sorted(os.listdir(place)) != ["secret"] or (place / "secret").read_text() != "secret":
        fault = f"wrote outside its folder: {sorted(os.listdir(place))}"
    outcome.seconds += seconds
    outcome.slowest = max(outcome.slowest, seconds)
    if fault:
        outcome.defects.append(f"{reader.title}: {fault}\n    {_shown(case)}")
    elif refused:
        outcome.refusals += 1
    else:
        outcome.results += 1


def _shown(case) -> str:
    try:
        return repr(case)[:1500]
    except ValueError:  # a whole number of more digits than Python writes
        return "a case with a huge number"


def fuzz(reader: Reader, cases: int, number: int, place: Path) -> Outcome:
    """Tries `cases` inputs of a reader, drawn from the seed `number`."""
    outcome = Outcome()

    @seed(number)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(reader.inputs)
    def run(case):
        try_case(reader, case, outcome, place)

    run()
    return outcome


@contextlib.contextmanager
def guarded():
    """A folder for the cases, in memory where there is one; the alarm and a limit on memory are set meanwhile."""

    def alarm(*_):
        raise Hang

    previous = signal.signal(signal.SIGALRM, alarm)
    environment = dict(os.environ)
    for name in ("IOU_STUDY_DATA", "IOU_STUDY_URLS"):
        os.environ.pop(name, None)
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    try:
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=shared) as place, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (Path(place) / "secret").write_text("secret")
            yield Path(place)
    finally:
        signal.signal(signal.SIGALRM, previous)
        os.environ.clear()
        os.environ.update(environment)


def fuzz_all(cases: int, number: int, only: str = "") -> dict[str, Outcome]:
    """All readers, each with its share of the cases. Returns what became of each, by title."""
    import fuzz_calls
    import fuzz_data
    import fuzz_parameters
    import fuzz_results

    import lib.beyond.networks  # noqa: F401  now, so that no case pays for Keras

    readers = [
        reader
        for module in (fuzz_data, fuzz_parameters, fuzz_results, fuzz_calls)
        for reader in module.READERS
        if only in reader.title
    ]
    total = sum(reader.share for reader in readers)
    with guarded() as place:
        return {
            reader.title: fuzz(reader, max(1, round(cases * reader.share / total)), number, place) for reader in readers
        }


def table(outcomes: dict[str, Outcome]) -> str:
    """One line a reader, and their sum."""
    lines = [f"{'reader':34}{'cases':>8}{'results':>9}{'refusals':>10}{'defects':>9}{'seconds':>9}{'slowest':>9}"]
    whole = Outcome()
    for title, outcome in outcomes.items():
        lines.append(_line(title, outcome))
        whole.results += outcome.results
        whole.refusals += outcome.refusals
        whole.defects += outcome.defects
        whole.seconds += outcome.seconds
        whole.slowest = max(whole.slowest, outcome.slowest)
    return "\n".join([*lines, _line("all", whole)])


def _line(title, outcome):
    return (
        f"{title:34}{outcome.cases:8}{outcome.results:9}{outcome.refusals:10}{len(outcome.defects):9}"
        f"{outcome.seconds:9.1f}{outcome.slowest:9.2f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10000, help="in all (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs (default: 0)")
    parser.add_argument("--only", default="", help="readers whose name holds this")
    options = parser.parse_args()
    outcomes = fuzz_all(options.cases, options.seed, options.only)
    print(table(outcomes))
    seen = set()
    for outcome in outcomes.values():
        for defect in outcome.defects:
            kind = re.sub(r"\d+", "0", defect.split("\n")[0])[:90]
            if kind not in seen:
                seen.add(kind)
                print(f"\nDEFECT {defect}")
    return 1 if any(outcome.defects for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
