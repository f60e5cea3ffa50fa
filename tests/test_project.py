"""The repository itself: environments agree, notebooks are clean, lib stays small and one-directional."""

import ast
import json
import re
import subprocess
import tomllib

import pytest
import yaml

from lib import PROJECT

MODULES = sorted((PROJECT / "lib").rglob("*.py"))
NOTEBOOKS = sorted((PROJECT / "notebooks").rglob("*.ipynb"))


def requirement_name(requirement):
    return re.match(r"[A-Za-z0-9_.-]+", requirement).group().lower()


def test_environment_and_project_agree():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in environment if isinstance(entry, dict))
    conda = [entry for entry in environment if isinstance(entry, str) and not entry.startswith(("python", "pip"))]
    assert {r for r in (*conda, *pip) if r != "-e ."} == set(project["dependencies"])
    assert any(r.startswith("tensorflow") for r in pip)
    assert "python" + project["requires-python"] in environment


def test_the_lock_pins_every_dependency_with_hashes_and_no_address():
    lock = (PROJECT / "requirements.lock").read_text()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    pinned = {requirement_name(line) for line in lock.splitlines() if re.match(r"[a-zA-Z0-9]", line)}
    wanted = {requirement_name(r) for r in (*project["dependencies"], *project["optional-dependencies"]["test"])}
    assert wanted <= pinned
    assert "://" not in lock and lock.count("--hash=sha256:") > len(pinned)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_source_notebooks_are_clean_and_their_cells_short(path):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            if path.parent.name != "lessons":  # the lessons carry the outputs of a clean run
                assert not cell["outputs"] and cell["execution_count"] is None
            assert len("".join(cell["source"]).splitlines()) <= 30


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_modules_are_small_and_backend_free(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 330
    assert not re.search(r"^\s*(import|from) (tensorflow|jax|torch)", source, re.M)
    assert ast.get_docstring(ast.parse(source))


def test_imports_go_one_way():
    """data, losses, models and metrics know nothing of the study, its results or its pictures."""
    imports = {path.stem: set(re.findall(r"\b(?:from lib import|from lib\.)\s*([\w, ]+)", path.read_text()))
               for path in MODULES}
    imports = {module: {name.strip() for names in found for name in names.split(",")} for module, found in imports.items()}
    upper = {"batch", "config", "findings", "plots", "report", "results", "stats", "study", "tables", "training"}
    for module in ("archives", "layouts", "data", "losses", "metrics", "models", "synthetic", "faces", "scenery"):
        assert not imports[module] & upper, module


def test_demo_weights_are_small():
    files = list((PROJECT / "lib" / "weights").glob("*.weights.h5"))
    assert len(files) == 2 and sum(path.stat().st_size for path in files) <= 6_000_000


def test_outputs_are_not_committed():
    listed = subprocess.run(["git", "ls-files", "outputs"], cwd=PROJECT, text=True, capture_output=True).stdout
    assert all(line.startswith("outputs/published/") for line in listed.split())


def test_the_first_screen_of_the_readme_has_the_four_commands():
    first_screen = "\n".join((PROJECT / "README.md").read_text().splitlines()[:50])
    for command in ("make study", "make test", "make lab", "make bench"):
        assert command in first_screen
    makefile = (PROJECT / "Makefile").read_text()
    for target in ("setup", "study", "test", "lab", "bench"):
        assert re.search(rf"^{target}:", makefile, re.M)
