"""lib/provenance.py: what changes the key of a run and what does not."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from lib import PROJECT, InputError, models, provenance
from lib.beyond import networks  # noqa: F401  its rows of models.NETWORKS
from lib.checks import surroundings
from lib.config import NOTEBOOK
from lib.data import synthetic
from lib.provenance import code, key, key_parts, notebook_code


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Three data roots: two with the same faces, one with others."""
    folders = []
    for name, seed in (("first", 0), ("moved", 0), ("other", 1)):
        folders.append(tmp_path_factory.mktemp(name))
        synthetic.write_lfw(folders[-1], 3, seed)
    return [str(folder) for folder in folders]


def changed(one, two):
    """Which parts of the keys of two configurations differ."""
    (key_one, parts_one), (key_two, parts_two) = key(one), key(two)
    differing = {part for part in parts_one if parts_one[part] != parts_two[part]}
    assert (key_one != key_two) == bool(differing)
    return differing


def test_the_key_changes_with_any_parameter(tiny):
    others = {
        "model": "fcresnet",
        "dataset": "helen",
        "size": "small",
        "loss": "bce",
        "hair": True,
        "encoder_weights": "demo",
        "monitor": "val_loss",
        "cache_features": False,
        "part": "hair",
        "split": "random",
        "batch_norm": "frozen",
        "score_start": "glorot",
        "loss_reduction": "mean",
        "tag": "again",
    }
    for name, value in asdict(tiny).items():
        if name != "data":
            other = others[name] if name in others else 2 * value + 1
            assert "parameters" in changed(tiny, replace(tiny, **{name: other})), name


def test_the_key_changes_with_the_data_but_not_with_their_place(tiny, roots):
    first, moved, other = (replace(tiny, data=root) for root in roots)
    assert changed(first, moved) == set()
    assert changed(first, other) == {"data"}
    assert changed(first, tiny) == {"data"}


def test_the_key_changes_with_the_notebook(tiny, tmp_path, monkeypatch):
    before = key(tiny)
    assert key(tiny) == before and set(before[1]) == {"parameters", "notebook", "code", "data"}
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    notebook["cells"].append({"cell_type": "markdown", "source": ["prose"]})
    (tmp_path / "train.ipynb").write_text(json.dumps(notebook))
    monkeypatch.setattr(provenance, "NOTEBOOK", tmp_path / "train.ipynb")
    assert key(tiny) == before  # prose does not count
    parameters = next(cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", ()))
    parameters["source"].append("\nepochs: int = 2")  # by hand, as the notebook proposes: every run is given its own
    (tmp_path / "train.ipynb").write_text(json.dumps(notebook))
    assert key(tiny) == before
    notebook["cells"].append({"cell_type": "code", "source": ["1 + 1"]})
    (tmp_path / "train.ipynb").write_text(json.dumps(notebook))
    after = key(tiny)
    assert {part for part in after[1] if after[1][part] != before[1][part]} == {"notebook"}


# ---- the code that counts -----------------------------------------------------------------------------------


@pytest.fixture
def changed_code(tiny, tmp_path):
    """A function from an edit, (module, old text, new text), and parameters to whether the key changes."""

    def changes(module, old, new, **params):
        folder = tmp_path / "lib"
        shutil.copytree(PROJECT / "lib", folder, ignore=shutil.ignore_patterns("weights"), dirs_exist_ok=True)
        path = folder / f"{module.replace('.', '/')}.py"
        source = path.read_text(encoding="utf-8")
        assert old in source
        path.write_text(source.replace(old, new), encoding="utf-8")
        config = replace(tiny, **params)
        return code(config, folder) != code(config, PROJECT / "lib")

    return changes


@pytest.mark.parametrize(
    "module, old, new",
    [
        ("losses", '"""IoU loss of each image, equation 4', '"""The IoU loss of one image, equation 4'),  # a docstring
        ("losses", "# (batch,) each", "# each (batch,)"),  # a comment
        ("losses", "use one of", "give one of"),  # a message
        ("checks.arrays", "0 in shapes[0] + shapes[1]", "False"),  # what is refused
        (
            "losses",
            "def iou_loss(mask, logits):",
            "def iou_loss(\n    mask,\n    logits: object,\n) -> object:",
        ),  # line breaks, hints
        ("training", "the loss became", "loss is"),
        ("models", "it must be a multiple of", "give a multiple of"),
        ("losses", "LOSSES = {", "def my_loss(mask, logits):\n    return 2\n\n\nLOSSES = {"),  # a loss of one's own
        ("losses", "LOSSES = {", 'LOSSES = {"mine": 3, '),
        ("losses", "union = np.where(empty, 1.0, union)", "union = np.where(empty, 2.0, union)"),  # of what no run uses
        ("data.datasets", "FORMAT = 2", "FORMAT = 2  # decoding"),
    ],
)
def test_what_changes_no_number_leaves_the_key(changed_code, module, old, new):
    for model in ("bfcn32s", "fcresnet"):
        for loss in ("iou", "bce"):
            assert not changed_code(module, old, new, model=model, loss=loss)


@pytest.mark.parametrize(
    "module, old, new, of, others",
    [
        (
            "losses",
            "ops.log1p(ops.exp(-ops.abs(z)))",
            "ops.log1p(ops.exp(-2 * ops.abs(z)))",
            {"loss": "bce"},
            {"loss": "iou"},
        ),
        (
            "losses",
            "return 1 - _soft_iou(t, ops.sigmoid(z))",
            "return 2 - _soft_iou(t, ops.sigmoid(z))",
            {"loss": "iou"},
            {"loss": "bce"},
        ),
        (
            "beyond.surrogates",
            "logits, 0.5, 0.5, pooled)",
            "logits, 0.4, 0.6, pooled)",
            {"loss": "dice"},
            {"loss": "iou"},
        ),
    ],
)
def test_a_change_in_a_loss_changes_the_keys_of_its_runs_alone(changed_code, module, old, new, of, others):
    assert changed_code(module, old, new, **of)
    assert not changed_code(module, old, new, **others)


@pytest.mark.parametrize(
    "module, old, new",
    [
        ("metrics", "THRESHOLD = 0.5", "THRESHOLD = 0.4"),
        ("models", 'initializer="zeros")', 'initializer="ones")'),
        ("models", 'padding="same", activation="relu"', 'padding="same", activation="elu"'),
        ("training", "patience=config.patience", "patience=config.patience + 1"),
        ("training", "epoch + 1]).permutation", "epoch + 2]).permutation"),
        ("beyond.scores", "HALF = 127", "HALF = 128"),
        ("data.datasets", "return (labels == PARTS[part])", "return (labels >= PARTS[part])"),
        ("data.datasets", "train = min(train, n - validation - test)", "train = max(train, n - validation - test)"),
        (
            "losses",
            "import math\n",
            "import math\nimport keras\nkeras.config.set_floatx('float16')\n",
        ),  # a statement of its own
    ],
)
def test_what_decides_numbers_changes_every_key(changed_code, module, old, new):
    for model in ("bfcn32s", "fcresnet"):
        for loss in ("iou", "bce"):
            assert changed_code(module, old, new, model=model, loss=loss)


def test_comments_of_the_notebook_do_not_count(tmp_path):
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    before = notebook_code(NOTEBOOK)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["source"] = ["# a remark\n", *cell["source"]]
    changed = tmp_path / "train.ipynb"
    changed.write_text(json.dumps(notebook))
    assert notebook_code(changed) == before


def test_the_key_counts_the_weights_a_run_starts_from(tiny):
    demo = replace(tiny, encoder_weights="demo", encoder_width=0.25)
    assert changed(demo, replace(demo, encoder_weights="none")) == {"parameters"}


def test_the_content_of_a_weights_file_counts_not_its_place(tiny, tmp_path):
    paths = [tmp_path / name for name in ("a.h5", "b.h5")]
    for path in paths:
        path.write_bytes(b"one")
    configs = [replace(tiny, encoder_weights=str(path)) for path in paths]
    assert key_parts(configs[0]) == key_parts(configs[1])
    paths[1].write_bytes(b"other")
    one, other = map(key_parts, configs)
    assert {part for part in one if one[part] != other[part]} == {"parameters"}


def test_the_key_of_missing_data_is_refused(tiny, tmp_path):
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        key(replace(tiny, data=str(tmp_path / "nothing")))


def test_the_demo_weights_of_a_network_are_those_that_it_loads(tiny):
    """The encoder is read from the tables' source, so that a key needs no Keras."""
    for model in ("bfcn32s", "fcresnet", "fcn8s", "unet_resnet50"):
        config = replace(tiny, model=model, encoder_weights="demo")
        digest = hashlib.sha256(models.weights_path(model, "demo").read_bytes()).hexdigest()
        assert key_parts(config) == key_parts(replace(config, encoder_weights=digest))
    assert not is_loaded_after("keras", "from lib import provenance, config; provenance.key(config.Config())")


def is_loaded_after(module, code):
    """Whether a module is loaded after this code."""
    code += f"; import sys; sys.exit(int({module!r} in sys.modules))"
    return subprocess.run([sys.executable, "-c", code], cwd=PROJECT).returncode


def test_the_instructions_of_the_processor_are_recorded():
    assert provenance.versions()["instructions"] is not None


@pytest.mark.parametrize(
    "code, threads",
    [
        ("import lib.checks.backend", "1"),  # with `lib.training`, as a lesson does
        ("from lib import provenance; provenance.limit_threads(3)", "3"),
    ],
)
def test_who_trains_without_a_word_uses_the_threads_of_a_study(code, threads):
    """TensorFlow reads the number when it first computes, so that Keras may have been imported before."""
    unset = {name: value for name, value in os.environ.items() if name not in surroundings.thread_limits(1)}
    told = f"{code}; import os; print([os.environ[name] for name in ('TF_NUM_INTRAOP_THREADS', 'OMP_NUM_THREADS')])"
    called = subprocess.run([sys.executable, "-c", told], cwd=PROJECT, env=unset, capture_output=True, text=True)
    assert called.stdout.strip() == str([threads, threads]), called.stderr


def test_threads_cannot_be_changed_once_keras_is_there(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    provenance.limit_threads(1)
    with pytest.raises(InputError, match="parameter threads: 2 cannot be set any more, as this kernel computes on 1"):
        provenance.limit_threads(2)
