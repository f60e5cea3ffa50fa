"""A short soak; the long one is `python tests/faults/soak.py --faults 60`."""

import re
import sys

import pytest
from soak import mounted, soak
from stub import Stub

from lib.config import PROJECT


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_study_survives_faults_at_random_moments(tmp_path):
    stub = Stub(tmp_path)
    with mounted(stub):
        figures = soak(stub, faults=5, seed=1, only="bfcn32s-lfw-*")
    assert sum(figures["faults"].values()) >= 5 and figures["studies"] >= 1
    assert figures["changed"] == figures["repeated"] == figures["orphans"] == 0


def test_every_fault_of_the_documentation_names_a_test_that_is_there():
    page = (PROJECT / "TROUBLESHOOTING.md").read_text(encoding="utf-8")
    tests = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)` \|$", page, re.M)
    assert len(named) >= 15 and [name for name in named if f"def {name}(" not in tests] == []
