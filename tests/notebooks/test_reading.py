"""notebooks/analysis.ipynb and beyond.ipynb: both can be executed on every published study."""

import json

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.io import capture_output

from lib import PROJECT, outputs

STUDIES = sorted(state.folder for state in outputs.studies() if state.folder.is_relative_to(outputs.PUBLISHED))


@pytest.fixture(scope="module")
def shell():
    made = InteractiveShell.instance()
    yield made
    InteractiveShell.clear_instance()


@pytest.mark.parametrize("notebook", ["analysis", "beyond"])
@pytest.mark.parametrize("study", STUDIES, ids=[folder.name for folder in STUDIES])
def test_reads_a_published_study_to_its_end(notebook, study, shell):
    """In one process, which has imported everything once; the pictures and tables are made and thrown away."""
    shell.reset()
    cells = json.loads((PROJECT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            with capture_output():
                result = shell.run_cell("".join(line for line in cell["source"] if not line.startswith("%")))
            result.raise_error()
            if "parameters" in cell["metadata"].get("tags", ()):
                shell.push({"study_dir": str(study)})


def test_there_are_studies():
    assert {"demo", "small", "photographs", "paper-photographs", "losses"} <= {folder.name for folder in STUDIES}
