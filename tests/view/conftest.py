"""What the tests of the views share: a study with its pictures."""

import json

import numpy as np
import pytest
from made_up_study import IMAGES, LABELS, write_paper_study

from lib import config, outputs, packs


@pytest.fixture
def study(tmp_path):
    """A study of four cells whose two test images of 2 x 2 pixels come along with it."""
    write_paper_study(tmp_path / "study", config.CELLS[:4])
    for path in (tmp_path / "study").glob("*/record.json"):
        record = json.loads(path.read_text())
        record["params"]["image_size"] = 32  # what the parameters allow; the pictures are smaller
        path.write_text(json.dumps(record))
    (tmp_path / "study" / outputs.PICTURES).mkdir()
    np.savez_compressed(
        tmp_path / "study" / outputs.PICTURES / "lfw.npz",
        images=packs.differences(IMAGES),
        labels=LABELS,
        ids=["Ann_0001", "Bob_0001"],
        digest="ff",
    )
    return tmp_path / "study"
