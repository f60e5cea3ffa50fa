"""Parameters and files are data, never code, and JupyterLab stays locked."""

import ast
import json
import re
import tomllib
from pathlib import Path

import keras
import numpy as np
import pytest
from papermill.translators import PythonTranslator

from lib import PROJECT, InputError, models, record
from lib.data.__main__ import main
from lib.params import read_yaml
from lib.study import commands, execute

HOSTILE = [
    "'; import os; os.mkdir('escape') #",
    '"; import os; os.mkdir("escape") #',
    '"""\nimport os\nos.mkdir("escape")\n"""',
    "a\nimport os; os.mkdir('escape')",
    "\\",
    '\\"',
    "\\'; os.mkdir('escape') #",
    "{__import__('os').mkdir('escape')}",
    "$(mkdir escape)",
    "`mkdir escape`",
    "%cd /",
    "!mkdir escape",
    "\r\n!mkdir escape",
    "\t\x0b\x1b[2J",
    "Köln 顔 \U0001f600",
]
LIBRARY = sorted((PROJECT / "lib").rglob("*.py"))


# ---- parameters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE)
def test_papermill_injects_a_text_as_a_literal(text):
    """The cell holds one assignment of one literal, which is the text."""
    (statement,) = ast.parse(PythonTranslator.codify({"data": text})).body
    assert isinstance(statement, ast.Assign) and ast.literal_eval(statement.value) == text


def test_hostile_texts_arrive_in_a_notebook_as_they_are(tmp_path, monkeypatch):
    """Through papermill into a kernel, the way that the batch takes."""
    from nbformat import v4, write

    monkeypatch.chdir(tmp_path)
    cells = [
        v4.new_code_cell("texts = []  # replaced", metadata={"tags": ["parameters"]}),
        v4.new_code_cell(f"import json\nopen({str(tmp_path / 'told.json')!r}, 'w').write(json.dumps(texts))"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    write(v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "in.ipynb")
    execute.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", {"texts": HOSTILE}, {}, tmp_path / "log")
    assert json.loads((tmp_path / "told.json").read_text()) == HOSTILE
    assert not list(tmp_path.rglob("escape"))


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.mkdir [escape]",
        "!!python/object/new:os.mkdir [escape]",
        "!!python/name:os.system",
        "!!python/module:os",
    ],
)
def test_yaml_makes_no_objects(tag, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(f"data: {tag}\n")
    with pytest.raises(InputError, match="could not determine a constructor"):
        read_yaml(tmp_path / "mine.yaml")
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize("text", [text for text in HOSTILE if "/" not in text])
@pytest.mark.parametrize("main, command", [(main, ["info", "lfw"]), (commands.main, ["run"])], ids=["data", "study"])
def test_data_paths_with_odd_characters_are_paths(main, command, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IOU_STUDY_CACHE", str(tmp_path / "cache"))
    out = ["--out", str(tmp_path / "study")] if main is commands.main else []
    assert main([*command, "--data", text, *out]) == 2
    assert re.search("is not a folder|parameter data", capsys.readouterr().err)
    assert not {path.name for path in tmp_path.iterdir()} & {"escape", "study"}


# ---- files that could hold code --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(PROJECT / "lib")))
def test_the_library_runs_nothing_that_it_reads(path):
    """No pickle, no exec or eval, no shell, no unsafe loader, no server open to others."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {name.split(".")[0] for name in names} & {
                "pickle",
                "cPickle",
                "dill",
                "joblib",
                "cloudpickle",
                "shelve",
                "marshal",
            }, node.lineno
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in (
                "exec",
                "eval",
                "compile",
                "os.system",
                "os.popen",
                "yaml.load",
                "yaml.unsafe_load",
                "keras.models.load_model",
                "keras.saving.load_model",
                "pd.read_pickle",
            ), node.lineno
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert given.get("allow_pickle", "False") == "False", node.lineno
            assert given.get("safe_mode", "True") == "True" and given.get("shell", "False") == "False", node.lineno
            if name == "np.load":
                assert given.get("allow_pickle") == "False", node.lineno  # said, not left to a default
    assert "enable_unsafe_deserialization" not in path.read_text(encoding="utf-8")


class Trap:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return Path.mkdir, (Path("escape"),)


def test_pickled_arrays_do_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("trap.npz", probabilities=np.array([Trap()]))
    with pytest.raises(InputError, match="allow_pickle=False"):
        record.read_arrays(tmp_path / "trap.npz", "probabilities")
    np.load("trap.npz", allow_pickle=True)["probabilities"]  # the trap works
    assert (tmp_path / "escape").exists()


@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras, on weights that do not fit
@pytest.mark.parametrize("name", ["trap.keras", "trap.h5", "trap.weights.h5"])
def test_a_lambda_layer_in_a_weights_file_does_not_run(name, tmp_path, monkeypatch):
    """Whole models, which could bring code along, are refused: only weights are read, into a network made here."""
    monkeypatch.chdir(tmp_path)
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Lambda(lambda x: (Path("escape").mkdir(), x)[1]), keras.layers.Dense(1)]
    )
    (tmp_path / "escape").rmdir()  # building the model sprang it
    (model.save_weights if name.endswith(".weights.h5") else model.save)(tmp_path / name)
    with pytest.raises(InputError, match=re.escape(str(tmp_path / name))):
        models.encoder("bfcn32s", 32, 0.25, str(tmp_path / name))
    assert not (tmp_path / "escape").exists()


# ---- JupyterLab ------------------------------------------------------------------------------------------------


def test_make_lab_keeps_token_and_loopback():
    """It passes a folder and a page, nothing else, and the project brings no configuration of the server."""
    (line,) = re.findall(r"jupyter lab.*", (PROJECT / "Makefile").read_text())
    options = dict(option.split("=", 1) for option in re.findall(r"--\S+", line))
    assert set(options) == {"--ServerApp.root_dir", "--LabApp.default_url"}
    tracked = [path for path in PROJECT.rglob("jupyter*config*") if ".venv" not in path.parts]
    assert not tracked and "jupyter" not in tomllib.loads((PROJECT / "pyproject.toml").read_text()).get("tool", {})


def test_the_server_listens_on_loopback_with_a_token():
    """What Jupyter does when nobody tells it otherwise."""
    from jupyter_server.serverapp import ServerApp

    server = ServerApp()
    assert server.ip == "localhost" and not server.allow_remote_access and not server.disable_check_xsrf
    assert len(server.identity_provider_class(parent=server).token) >= 32
