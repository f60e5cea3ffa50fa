"""What the tests of the study share: made-up runs that count as done."""

import json
from dataclasses import asdict

import pytest
from made_up_study import write_run
from tiny_runs import RUN, tiny

from lib.config import Cell
from lib.provenance import key, versions


@pytest.fixture(scope="session")
def recorded(tmp_path_factory, cache):
    """(folder, configurations): both losses of a cell as if they had been run today, with made-up scores."""
    folder, configs = tmp_path_factory.mktemp("recorded"), tiny(RUN + "*")
    for config in configs:
        write_run(folder, Cell(config.model, config.dataset, config.size, config.hair), config.loss)
        path = folder / config.run_id / "record.json"
        filed_under, parts = key(config)
        path.write_text(
            json.dumps(
                json.loads(path.read_text())
                | {"params": asdict(config), "versions": versions(), "key": filed_under, "key_parts": parts}
            )
        )
    return folder, configs
