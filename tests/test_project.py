"""The repository itself: environments agree, notebooks are clean, lib stays small and one-directional."""

import ast
import graphlib
import json
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from lib import PROJECT

MODULES = sorted((PROJECT / "lib").rglob("*.py"))


def committed(path):
    """What is to be committed of a file, whatever has been done to it since in JupyterLab."""
    shown = subprocess.run(["git", "show", f":./{path.relative_to(PROJECT)}"], cwd=PROJECT, capture_output=True)
    return path.read_text() if shown.returncode else shown.stdout.decode()


def source_notebooks():
    """The project's notebooks, without checkpoints and notebooks of one's own."""
    listed = subprocess.run(
        ["git", "ls-files", "notebooks"], cwd=PROJECT, text=True, capture_output=True
    ).stdout.split()
    found = [PROJECT / name for name in listed if name.endswith(".ipynb")] or (PROJECT / "notebooks").rglob("*.ipynb")
    return sorted(path for path in found if ".ipynb_checkpoints" not in path.parts)


NOTEBOOKS = source_notebooks()


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
    assert "rfc3987-syntax" not in pinned  # with it, each process that reads a notebook takes 2 s longer to start
    assert "://" not in lock and lock.count("--hash=sha256:") > len(pinned)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_source_notebooks_are_clean_and_their_cells_short(path):
    for cell in json.loads(committed(path))["cells"]:
        if cell["cell_type"] == "code":
            if path.parent.name != "lessons":  # the lessons carry the outputs of a clean run
                assert not cell["outputs"] and cell["execution_count"] is None
            if "parameters" not in cell["metadata"].get("tags", ()):  # that one is a list, a line for each
                assert len("".join(cell["source"]).splitlines()) <= 30


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PROJECT / "lib")))
def test_modules_are_small_and_backend_free(path):
    source = path.read_text()
    assert len(ast.unparse(ast.parse(source)).splitlines()) <= 335  # a line a statement, however it is broken
    assert not re.search(r"^\s*(import|from) (tensorflow|jax|torch)", source, re.M)
    assert ast.get_docstring(ast.parse(source))


# ---- the house: who may know whom ---------------------------------------------------------------------------

# Every room of lib/, a module of the core or a wing, and the rooms that it may import; all of them stand above it.
ROOMS = {
    "lib": "",
    "checks": "lib",
    "config": "lib checks",
    "losses": "lib checks",
    "data": "lib checks",
    "models": "lib checks data",
    "metrics": "lib checks losses",
    "params": "lib config",
    "record": "lib checks config",
    "packs": "lib record",
    "outputs": "lib config record packs",
    "beyond": "lib checks losses models",
    "provenance": "lib checks config models data beyond",
    "training": "lib checks config losses models metrics record data beyond provenance",
    "weights": "lib checks models data",
    "analysis": "lib checks config params record packs outputs data beyond",
    "view": "lib checks config record outputs analysis",
    "study": "lib checks config params record packs outputs data provenance analysis view",
}


def dotted(path):
    """lib/data/cache.py -> "lib.data.cache", lib/data/__init__.py -> "lib.data"."""
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


def room(module):
    return module.split(".")[1] if "." in module else module


def imported(path, modules):
    """The modules of lib that one imports, also in functions: of `from lib.x import y` lib.x.y, if it is a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write lib.…, so that one can search for it"
            names = [
                name if (name := f"{node.module}.{alias.name}") in modules else node.module for alias in node.names
            ]
        else:
            continue
        for name in names:
            if room(name) in ROOMS and name.split(".")[0] == "lib":
                assert name in modules, f"{path}: there is no {name}"
                yield name


IMPORTS = {
    dotted(path): {name for name in imported(path, {dotted(path) for path in MODULES}) if name != dotted(path)}
    for path in MODULES
}


def test_the_rooms_are_all_there_and_their_table_goes_one_way():
    assert {room(module) for module in IMPORTS} == set(ROOMS)
    for index, (name, allowed) in enumerate(ROOMS.items()):
        assert set(allowed.split()) <= set(list(ROOMS)[:index]), name


@pytest.mark.parametrize("module", IMPORTS)
def test_imports_go_one_way(module):
    """No room knows one below it in the table: data, losses, models and metrics know nothing of studies."""
    own = room(module)
    upward = {name for name in IMPORTS[module] if room(name) not in (own, *ROOMS[own].split())}
    assert not upward


def test_no_imports_go_in_a_circle():
    graphlib.TopologicalSorter(
        {module: found - {"lib"} for module, found in IMPORTS.items()}
    ).prepare()  # raises CycleError


@pytest.mark.parametrize("wing", ["analysis", "beyond"])
def test_wings_that_only_parts_are_wanted_of_import_nothing(wing):
    body = ast.parse((PROJECT / "lib" / wing / "__init__.py").read_text()).body
    assert len(body) == 1 and isinstance(body[0], ast.Expr)  # a docstring


@pytest.mark.parametrize("module", ["lib.view.inspector", "lib.view.front_page", "lib.analysis.conditions"])
def test_looking_at_studies_starts_without_keras(module):
    code = f"import sys, {module}; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT).returncode == 0


def test_the_core_is_small():
    assert len(list((PROJECT / "lib").glob("*.py"))) <= 11


def test_every_module_has_its_tests_in_the_same_place():
    """lib/data/cache.py -> tests/data/test_cache.py; an `__init__.py` only where it defines something."""
    for path in MODULES:
        if path.name == "__init__.py" and not any(
            isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.parse(path.read_text()).body
        ):
            continue
        place = PROJECT / "tests" / path.relative_to(PROJECT / "lib").with_name(f"test_{path.stem.strip('_')}.py")
        assert place.is_file() and re.search(r"^def test_", place.read_text(), re.M), place


def test_what_is_installed_is_all_of_lib():
    setuptools = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert sorted(setuptools["packages"]) == sorted({dotted(path.parent / "__init__.py") for path in MODULES})
    assert all((path.parent / "__init__.py").is_file() for path in MODULES)
    others = [path for path in (PROJECT / "lib").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    for path in others:
        assert any(path.match(pattern) for pattern in setuptools["package-data"][dotted(path.parent)]), path


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
