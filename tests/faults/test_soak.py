"""A short soak; the long one is `python tests/faults/soak.py --faults 60`."""

import re
import sys

import pytest
from scale import scale
from soak import mounted, soak
from stub import Stub

from lib import PROJECT


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_study_survives_faults_at_random_moments(tmp_path):
    stub = Stub(tmp_path)
    with mounted(stub):
        figures = soak(stub, faults=5, seed=1, only="bfcn32s-lfw-*")
    assert sum(figures["faults"].values()) >= 5 and figures["studies"] >= 1
    assert figures["changed"] == figures["repeated"] == figures["different"] == figures["orphans"] == 0


def test_a_study_of_many_runs_keeps_its_driver_small(tmp_path):
    """The long one is `make scale`: 2,000 runs on 16 workers."""
    found = scale(Stub(tmp_path / "project"), runs=24, workers=2)
    assert (found["status"], found["done"]) == (0, 24), "".join(found["printed"][-20:])
    memory = [mib for _, _, mib in found["quarters"]]
    assert len(memory) == 4 and 20 < memory[0] and memory[-1] < memory[0] + 30


def test_every_fault_of_the_documentation_names_a_test_that_is_there():
    page = (PROJECT / "TROUBLESHOOTING.md").read_text(encoding="utf-8")
    tests = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)` \|$", page, re.M)
    assert len(named) >= 15 and [name for name in named if f"def {name}(" not in tests] == []
