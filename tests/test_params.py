"""lib/profiles.py: the runs that a profile stands for."""

import pytest

from lib import InputError, params
from lib.config import resolve
from lib.params import read_yaml


@pytest.mark.parametrize("profile", ["demo", "small", "paper"])
def test_every_profile_plans_32_different_runs(profile):
    configs = params.configurations(profile)
    assert len(configs) == len(set(configs)) == len({config.run_id for config in configs}) == 32
    for config in configs:
        assert config == resolve(read_yaml(params.PARAMS / "profiles" / f"{profile}.yaml"),
                                 read_yaml(params.PARAMS / f"{config.run_id}.yaml"))


BEYOND = {"losses": 2 * 9 * 5, "networks": 3 * 2 * 5, "sparsity": 2 * 2 * (5 + 3) * 5, "parts": 2 * 6 * 5,
          "rates": (9 * 4 + 2 * 6) * 5, "resampled": 2 * 2 * 10, "ablation": 2 * 8 * 5,
          "synthetic": (2 * 9 + 2 * 4) * 5}


@pytest.mark.parametrize("profile", BEYOND)
def test_profiles_beyond_the_paper_plan_their_grid_with_fewer_seeds_first(profile):
    configs = params.configurations(profile)
    assert len(configs) == len({config.run_id for config in configs}) == BEYOND[profile]
    seeds = [config.seed for config in configs]
    assert seeds == sorted(seeds) and len(set(seeds)) >= 2
    assert {profile, *BEYOND} == {path.stem for path in (params.PARAMS / "profiles").glob("*.yaml")
                                  if "grid" in read_yaml(path)}


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
        "bfcn32s-lfw-big-nohair-iou-learning_rate=0.001", "bfcn32s-lfw-big-nohair-iou-learning_rate=0.0001",
        "bfcn32s-lfw-big-nohair-dice-learning_rate=0.001", "bfcn32s-lfw-big-nohair-dice-learning_rate=0.0001",
        "bfcn32s-helen-big-nohair-iou-part=eyes", "bfcn32s-helen-big-nohair-iou-part=eyes-seed7"}
    last = configs["bfcn32s-helen-big-nohair-iou-part=eyes-seed7"]
    assert (last.epochs, last.part, last.seed, last.loss) == (3, "eyes", 7, "iou")
    twice = params.configurations("mine", only="*dice*", seeds=2)
    assert [(config.seed, config.run_id[-6:]) for config in twice] == [(0, "0.0001"), (0, "=0.001"), (1, "-seed1"),
                                                                      (1, "-seed1")]
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
