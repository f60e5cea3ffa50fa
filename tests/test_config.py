"""lib/config.py: what is refused and how, one set of defaults, 32 different runs."""

import ast
import json
import re
from dataclasses import asdict, fields, replace

import pytest

from lib import PROJECT, InputError
from lib.config import NOTEBOOK, Config, resolve
from lib.params import from_notebook, read_yaml

PARAMS = PROJECT / "params"
PROFILES = [path for path in sorted((PARAMS / "profiles").glob("*.yaml")) if "grid" not in read_yaml(path)]


# ---- what is refused --------------------------------------------------------------------------------------

@pytest.mark.parametrize("parameters, sentence", [
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
    ({"model": "MobileNetV2"}, "parameter encoder_weights: 'demo' is not valid, it must be imagenet, none or a path"),
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
    ({"encoder_weights": ""}, "parameter encoder_weights: '' is not valid, it must be imagenet, demo"),
    ({"encoder_weights": "imagenet"}, "parameter encoder_width: 0.25 is not valid, it must be 1.0 with"),
    ({"encoder_width": 0.5}, "parameter encoder_width: 0.5 is not valid, it must be 0.25 with the"),
])
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


@pytest.mark.parametrize("content, sentence", [
    (None, "there is no such parameter file"),
    (b"", "holds no parameters"),
    (b"- epochs\n", "holds no parameters"),
    (b"epochs: [3\n", "cannot be read as YAML"),
    (b"epochs: \xff\n", "cannot be read as YAML"),
    (b"epochs: !!python/object/apply:os.getcwd []\n", "cannot be read as YAML"),
    (b"epochs: 3\nepochs: 5\n", r"cannot be read as YAML \(epochs is given twice: keep one\)"),
    (b"grid:\n- {loss: [iou], loss: [bce]}\n", r"cannot be read as YAML \(loss is given twice"),
    (b"? [a]\n: 1\n", "cannot be read as YAML"),
    (b"epochs: !!map [1]\n", "cannot be read as YAML"),
    (b"epochs: 1:30\n", r"cannot be read as YAML \(1:30 is a number in base 60 in YAML"),
    (b"learning_rate: 1:30.5\n", r"cannot be read as YAML \(1:30.5 is a number in base 60"),
])
def test_a_bad_yaml_file_is_refused_by_name(content, sentence, tmp_path):
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"mine\.yaml: {sentence}") as refused:
        read_yaml(path)
    assert "\n" not in str(refused.value)


def test_names_of_different_types_are_different(tmp_path):
    (tmp_path / "mine.yaml").write_text("grid: {1: x, '1': y}")
    assert read_yaml(tmp_path / "mine.yaml") == {"grid": {1: "x", "1": "y"}}


def test_a_yaml_file_is_read(tmp_path):
    (tmp_path / "mine.yaml").write_text("epochs: 3\nlearning_rate: 1.0e-4\n")
    assert read_yaml(tmp_path / "mine.yaml") == {"epochs": 3, "learning_rate": 1e-4}


# ---- the notebook's parameters cell -----------------------------------------------------------------------

@pytest.fixture(scope="module")
def parameters_cell():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    cell, = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", ()))
    return "".join(cell["source"])


def test_the_notebook_has_the_same_defaults(parameters_cell):
    """Literals only, annotated, in the same order; `out_dir` is the notebook's own."""
    assigned = {node.target.id: (node.annotation.id, ast.literal_eval(node.value))
                for node in ast.parse(parameters_cell).body}
    assert assigned.pop("out_dir")[0] == "str"
    assert list(assigned) == [field.name for field in fields(Config)]
    assert {name: value for name, (_, value) in assigned.items()} == asdict(Config())
    assert [kind for kind, _ in assigned.values()] == [field.type.__name__ for field in fields(Config)]


def test_every_parameter_of_the_notebook_is_explained(parameters_cell):
    """On its own line; papermill's reader takes a second "=" for a part of the value."""
    for line in parameters_cell.splitlines():
        assignment, _, comment = line.partition("  # ")
        assert comment and "=" not in comment and assignment.count("=") == 1, line


def test_a_notebook_gives_its_configuration():
    namespace = {**asdict(Config()), "epochs": 3, "out_dir": "somewhere",
                 "In": ["", "# Parameters\nepochs = 3\n"]}
    assert from_notebook(namespace) == replace(Config(), epochs=3)


def test_an_unknown_parameter_injected_into_the_notebook_is_refused():
    namespace = {**asdict(Config()), "epohcs": 3, "In": ["", "# Parameters\nepohcs = 3\n"]}
    with pytest.raises(InputError, match="unknown parameter 'epohcs': did you mean 'epochs'?"):
        from_notebook(namespace)


def test_other_names_of_the_notebook_are_its_own():
    assert from_notebook({**asdict(Config()), "helper": 3, "In": ["", "helper = 3"]}) == Config()


# ---- params/ ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_32_files_give_32_different_configurations(profile):
    files = sorted(PARAMS.glob("*.yaml"))
    configs = [resolve(read_yaml(profile), read_yaml(path)) for path in files]
    assert len(files) == len(set(configs)) == 32
    assert [config.run_id for config in configs] == [path.stem for path in files]


def test_a_run_file_holds_the_differences_only():
    for path in PARAMS.glob("*.yaml"):
        assert list(read_yaml(path)) == ["model", "dataset", "size", "hair", "loss"], path.name


def test_the_paper_profile_is_table_2():
    config = resolve(read_yaml(PARAMS / "profiles" / "paper.yaml"))
    assert (config.learning_rate, config.batch_size, config.epochs, config.patience) == (1e-4, 100, 1000, 20)
    assert (config.image_size, config.encoder_width, config.fc_units) == (224, 1.0, 4096)
    assert (config.encoder_weights, config.trainable_blocks) == ("imagenet", 1)
