"""lib/config.py: what is refused and how, one set of defaults."""

import ast
import json
import re
from dataclasses import asdict, fields, replace

import pytest

from lib import InputError
from lib.config import NOTEBOOK, Config, resolve

# ---- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters, sentence",
    [
        ({"epohcs": 3}, "unknown parameter 'epohcs': did you mean 'epochs'?"),
        ({"zzz": 3}, "unknown parameter 'zzz': use one of model, dataset, size"),
        ({1: 2}, "unknown parameter 1"),
        ({"learning_rate": "1e-4"}, "parameter learning_rate: '1e-4' is of type str, not float: correct it; in"),
        ({"epochs": 3.0}, "parameter epochs: 3.0 is of type float, not int"),
        ({"epochs": True}, "parameter epochs: True is of type bool, not int"),
        ({"learning_rate": True}, "parameter learning_rate: True is of type bool, not float"),
        ({"hair": 1}, "parameter hair: 1 is of type int, not bool"),
        ({"hair": "yes"}, "parameter hair: 'yes' is of type str, not bool"),
        ({"data": None}, "parameter data: None is of type NoneType, not str"),
        ({"model": "unets"}, "parameter model: 'unets' is not valid, it must be one of bfcn32s, fcresnet, fcn8s"),
        (
            {"model": "MobileNetV2"},
            "parameter encoder_weights: 'demo' is not valid, it must be imagenet, none or a path",
        ),
        ({"part": "ear"}, "parameter part: 'ear' is not valid, it must be one of '', hair"),
        ({"part": "hair", "hair": True}, "parameter hair: True is not valid, it must be false where part is set"),
        ({"part": "nose"}, "parameter part: 'nose' is not valid, it must be empty or hair on lfw"),
        ({"synthetic_share": 0.6}, "parameter synthetic_share: 0.6 is not valid, it must be from 0"),
        ({"loss_reduction": "none"}, "parameter loss_reduction: 'none'"),
        ({"split": "other"}, "parameter split: 'other' is not valid, it must be one of fixed, random"),
        ({"batch_norm": "off"}, "parameter batch_norm: 'off'"),
        ({"tag": "../up"}, "parameter tag: '../up' is not valid, it must be made of a-z"),
        ({"dataset": "LFW"}, "parameter dataset: 'LFW' is not valid, it must be one of lfw, helen"),
        ({"size": "medium"}, "parameter size: 'medium'"),
        ({"loss": "dise"}, "parameter loss: 'dise'"),
        ({"monitor": "loss"}, "parameter monitor: 'loss' is not valid, it must be one of val_iou, val_iou_soft"),
        ({"image_size": 100}, "parameter image_size: 100 is not valid, it must be a multiple of 32"),
        ({"image_size": 0}, "parameter image_size: 0"),
        ({"fc_units": 0}, "parameter fc_units: 0 is not valid, it must be 1 or more"),
        ({"epochs": 0}, "parameter epochs: 0"),
        ({"batch_size": 0}, "parameter batch_size: 0"),
        ({"patience": 0}, "parameter patience: 0"),
        ({"synthetic_images": 9}, "parameter synthetic_images: 9 is not valid, it must be 10 or more"),
        ({"learning_rate": 0}, "parameter learning_rate: 0.0 is not valid, it must be a number above 0"),
        ({"learning_rate": float("nan")}, "parameter learning_rate: nan"),
        ({"rmsprop_epsilon": float("inf")}, "parameter rmsprop_epsilon: inf"),
        ({"encoder_width": 0}, "parameter encoder_width: 0.0 is not valid, it must be above 0 and at most 4"),
        ({"encoder_width": 4.5}, "parameter encoder_width: 4.5"),
        ({"trainable_blocks": 6}, "parameter trainable_blocks: 6 is not valid, it must be from 0"),
        ({"trainable_blocks": -1}, "parameter trainable_blocks: -1"),
        ({"seed": -1}, "parameter seed: -1"),
        ({"seed": 2**32}, "parameter seed: 4294967296"),
        ({"encoder_weights": ""}, "parameter encoder_weights: '' is not valid, it must be imagenet, photographs"),
        ({"encoder_weights": "imagenet"}, "parameter encoder_width: 0.25 is not valid, it must be 1.0 with"),
        ({"encoder_width": 0.5}, "parameter encoder_width: 0.5 is not valid, it must be 0.25 with the"),
    ],
)
def test_a_bad_parameter_is_refused_in_one_sentence(parameters, sentence):
    with pytest.raises(InputError, match="^" + re.escape(sentence)) as refused:
        resolve(parameters)
    assert "\n" not in str(refused.value)


def test_later_mappings_win_and_whole_numbers_become_floats():
    config = resolve({"epochs": 3, "seed": 1}, {"epochs": 4, "learning_rate": 1})
    assert config == replace(Config(), epochs=4, seed=1, learning_rate=1.0)
    assert type(config.learning_rate) is float


def test_the_defaults_are_allowed():
    assert resolve() == Config() and Config().run_id == "bfcn32s-lfw-big-nohair-iou"
    assert resolve({"hair": True, "loss": "bce"}).run_id == "bfcn32s-lfw-big-hair-bce"


# ---- the notebook's parameters cell -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def parameters_cell():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    (cell,) = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", ()))
    return "".join(cell["source"])


def test_the_notebook_has_the_same_defaults(parameters_cell):
    """Literals only, annotated, in the same order; `out_dir` is the notebook's own."""
    assigned = {
        node.target.id: (node.annotation.id, ast.literal_eval(node.value)) for node in ast.parse(parameters_cell).body
    }
    assert assigned.pop("out_dir")[0] == "str"
    assert list(assigned) == [field.name for field in fields(Config)]
    assert {name: value for name, (_, value) in assigned.items()} == asdict(Config())
    assert [kind for kind, _ in assigned.values()] == [field.type.__name__ for field in fields(Config)]


def test_every_parameter_of_the_notebook_is_explained(parameters_cell):
    """On its own line; papermill's reader takes a second "=" for a part of the value."""
    for line in parameters_cell.splitlines():
        assignment, _, comment = line.partition("  # ")
        assert comment and "=" not in comment and assignment.count("=") == 1, line
