"""A short soak; the long one is `python tests/faults/soak.py --faults 60`."""

import sys

import pytest
from soak import soak
from stub import Stub


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_study_survives_faults_at_random_moments(tmp_path):
    figures = soak(Stub(tmp_path), faults=5, seed=1, only="bfcn32s-lfw-*")
    assert sum(figures["faults"].values()) >= 5 and figures["studies"] >= 1
    assert figures["changed"] == figures["repeated"] == figures["orphans"] == 0
