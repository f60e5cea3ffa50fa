"""lib/params.py: the runs that a profile stands for, parameter files, and a notebook's parameters."""

import ast
import json
from dataclasses import asdict, replace

import pytest

from lib import PROJECT, InputError, params
from lib.config import NOTEBOOK, Config, resolve
from lib.params import from_notebook, read_yaml

PARAMS = PROJECT / "params"
PROFILES = [path for path in sorted((PARAMS / "profiles").glob("*.yaml")) if "grid" not in read_yaml(path)]


@pytest.mark.parametrize("profile", ["demo", "small", "paper"])
def test_every_profile_plans_32_different_runs(profile):
    configs = params.configurations(profile)
    assert len(configs) == len(set(configs)) == len({config.run_id for config in configs}) == 32
    for config in configs:
        assert config == resolve(
            read_yaml(params.PARAMS / "profiles" / f"{profile}.yaml"),
            read_yaml(params.PARAMS / f"{config.run_id}.yaml"),
        )


BEYOND = {
    "losses": 2 * 9 * 5,
    "networks": 3 * 2 * 5,
    "sparsity": 2 * 2 * (5 + 3) * 5,
    "parts": 2 * 6 * 5,
    "rates": (9 * 4 + 2 * 6) * 5,
    "resampled": 2 * 2 * 10,
    "ablation": 2 * 8 * 5,
    "synthetic": (2 * 9 + 2 * 4) * 5,
    "starts": 2 * 2 * 2 * 2 * 2 * 5,
}


@pytest.mark.parametrize("profile", BEYOND)
def test_profiles_beyond_the_paper_plan_their_grid_with_fewer_seeds_first(profile):
    configs = params.configurations(profile)
    assert len(configs) == len({config.run_id for config in configs}) == BEYOND[profile]
    seeds = [config.seed for config in configs]
    assert seeds == sorted(seeds) and len(set(seeds)) >= 2


def test_a_grid_is_all_combinations_and_names_what_tells_its_runs_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(params, "PARAMS", tmp_path)
    (tmp_path / "profiles").mkdir()
    path = tmp_path / "profiles" / "mine.yaml"
    path.write_text("""epochs: 3
grid:
  - {loss: [iou, dice], learning_rate: [1.0e-3, 1.0e-4]}
  - {dataset: [helen], part: [eyes], seed: [0, 7]}
""")
    configs = {config.run_id: config for config in params.configurations("mine")}
    assert set(configs) == {
        "bfcn32s-lfw-big-nohair-iou-learning_rate=0.001",
        "bfcn32s-lfw-big-nohair-iou-learning_rate=0.0001",
        "bfcn32s-lfw-big-nohair-dice-learning_rate=0.001",
        "bfcn32s-lfw-big-nohair-dice-learning_rate=0.0001",
        "bfcn32s-helen-big-nohair-iou-part=eyes",
        "bfcn32s-helen-big-nohair-iou-part=eyes-seed7",
    }
    last = configs["bfcn32s-helen-big-nohair-iou-part=eyes-seed7"]
    assert (last.epochs, last.part, last.seed, last.loss) == (3, "eyes", 7, "iou")
    twice = params.configurations("mine", only="*dice*", seeds=2)
    assert [(config.seed, config.run_id[-6:]) for config in twice] == [
        (0, "0.0001"),
        (0, "=0.001"),
        (1, "-seed1"),
        (1, "-seed1"),
    ]
    path.write_text("grid: {loss: iou}")
    with pytest.raises(InputError, match="^mine.yaml: grid must give a list of values for each parameter, as loss"):
        params.configurations("mine")
    path.write_text("grid: []")
    with pytest.raises(InputError, match="^mine.yaml: grid is empty; give a list of values"):
        params.configurations("mine")
    path.write_text(f"grid: {{seed: {list(range(400))}, epochs: {list(range(1, 400))}}}")
    with pytest.raises(InputError, match="^mine.yaml: grid spans more than 100,000 runs; take values out of it"):
        params.configurations("mine")
    path.write_text("grid: [{loss: [iou]}, {loss: [iou], epochs: [3], tag: ['']}, {loss: [iou], epohcs: [3]}]")
    with pytest.raises(InputError, match="^mine.yaml with profile mine: unknown parameter 'epohcs'"):
        params.configurations("mine")


def test_seeds_repeat_the_32_runs():
    configs = params.configurations("demo", seeds=3)
    assert len(configs) == len({config.run_id for config in configs}) == 96
    assert configs[:32] == params.configurations("demo")
    assert all(config.run_id.endswith("-seed2") and config.seed == 2 for config in configs[64:])


def test_profile_paper_is_table_2():
    config = params.configurations("paper")[0]
    table_2 = {"epochs": 1000, "batch_size": 100, "patience": 20, "learning_rate": 1e-4}
    assert {name: getattr(config, name) for name in table_2} == table_2
    assert (config.image_size, config.encoder_width, config.fc_units) == (224, 1.0, 4096)
    assert config.encoder_weights == "imagenet" and config.trainable_blocks == 1


def test_the_file_with_a_bad_parameter_is_named(tmp_path, monkeypatch):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "demo.yaml").write_text("learning_rate: 1e-4\n")
    (tmp_path / "bfcn32s-lfw-big-nohair-iou.yaml").write_text("model: bfcn32s\n")
    monkeypatch.setattr(params, "PARAMS", tmp_path)
    with pytest.raises(InputError, match=r"-iou.yaml with profile demo.*learning_rate.*1.0e-4"):
        params.configurations("demo")


@pytest.mark.parametrize(
    "content, sentence",
    [
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
    ],
)
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


def test_a_notebook_gives_its_configuration():
    namespace = {**asdict(Config()), "epochs": 3, "out_dir": "somewhere", "In": ["", "# Parameters\nepochs = 3\n"]}
    assert from_notebook(namespace) == replace(Config(), epochs=3)


def test_an_unknown_parameter_injected_into_the_notebook_is_refused():
    namespace = {**asdict(Config()), "epohcs": 3, "In": ["", "# Parameters\nepohcs = 3\n"]}
    with pytest.raises(InputError, match="unknown parameter 'epohcs': did you mean 'epochs'?"):
        from_notebook(namespace)


def test_other_names_of_the_notebook_are_its_own():
    assert from_notebook({**asdict(Config()), "helper": 3, "In": ["", "helper = 3"]}) == Config()


def typed(*lines: str) -> str:
    return "\n".join(['model: str = "bfcn32s"  # network', "epochs: int = 8", *lines])


def after(*cells: str) -> dict:
    """The namespace of a notebook in which these cells were run."""
    namespace = {"In": ["", *cells]}
    for cell in cells:
        exec(cell, namespace)
    return namespace


@pytest.mark.parametrize(
    "line, sentence",
    [
        ("epoch: int = 3", "unknown parameter 'epoch': did you mean 'epochs'?"),
        ("epoch = 3", "unknown parameter 'epoch': did you mean 'epochs'?"),
        ("seed, sed = 1, 2", "unknown parameter 'sed': did you mean 'seed'?"),
        ("drop: float = 0.2", "unknown parameter 'drop': did you mean 'dropout'?"),
        ("epochs: int = 3", "parameter epochs: is given 2 times in the parameters cell; keep one line"),
        ("epochs = 3", "parameter epochs: is given 2 times"),
        ('loss: str = "dise"', "parameter loss: 'dise' is not valid"),
    ],
)
def test_a_line_typed_into_the_parameters_cell_is_refused_by_name_until_it_is_mended(line, sentence):
    with pytest.raises(InputError, match=sentence.replace("?", r"\?")):
        from_notebook(after(typed(line)))
    mended = from_notebook(
        after(typed(line), "config = 1", typed("patience: int = 2"), "helper: int = 3") | {"loss": "iou"}
    )
    assert (mended.epochs, mended.patience) == (8, 2)


def test_cells_injected_after_the_parameters_cell_count_and_earlier_ones_do_not():
    assert from_notebook(after(typed(), "# Parameters\nepochs = 3\n")).epochs == 3
    assert from_notebook(after("# Parameters\nepohcs = 3\n", typed())) == replace(Config(), epochs=8)
    with pytest.raises(InputError, match="unknown parameter 'epohcs'"):
        from_notebook(after(typed(), "# Parameters\nepohcs = 3\n"))


@pytest.mark.parametrize("loss", ["bce", "dise"])
def test_a_new_configuration_forgets_what_the_last_one_left(loss):
    namespace = after(typed()) | dict.fromkeys(params.MADE, "old") | {"loss": loss, "mine": 1}
    try:
        from_notebook(namespace)
    except InputError:
        assert loss == "dise"
    assert not set(params.MADE) & set(namespace) and namespace["mine"] == 1


def test_what_the_notebook_makes_of_its_configuration_is_known():
    """Every name that a cell after the configuration uses and an earlier one made of it is forgotten."""
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    trees = [ast.parse("".join(cell["source"]).replace("%", "#")) for cell in cells[1:]]
    made = {
        target.id
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and "config" in ast.unparse(node.value)
    }
    assert made | {"config", "run"} <= set(params.MADE)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_32_files_give_32_different_configurations(profile):
    files = sorted(PARAMS.glob("*.yaml"))
    configs = [resolve(read_yaml(profile), read_yaml(path)) for path in files]
    assert len(files) == len(set(configs)) == 32
    assert [config.run_id for config in configs] == [path.stem for path in files]


def test_a_run_file_holds_the_differences_only():
    for path in PARAMS.glob("*.yaml"):
        assert list(read_yaml(path)) == ["model", "dataset", "size", "hair", "loss"], path.name


def test_a_run_by_hand_goes_where_studies_are(tmp_path, monkeypatch):
    monkeypatch.setenv("IOU_STUDY_OUTPUTS", str(tmp_path))
    namespace = {**asdict(Config()), "out_dir": ""}
    from_notebook(namespace)
    assert namespace["out_dir"] == str(tmp_path / "by-hand")
    from_notebook(given := {**asdict(Config()), "out_dir": "somewhere"})
    assert given["out_dir"] == "somewhere"
