"""CONTRIBUTING.md and the other pages: the worked examples run in a copy of the project, links lead somewhere."""

import re
import shutil
import subprocess
import sys
from itertools import groupby

import pytest

from lib import PROJECT, provenance
from lib.config import BEYOND, CELLS, PAPER, resolve

PAGES = [
    page
    for pattern in ("*.md", "params/**/*.md", "notebooks/**/*.md", "outputs/published/**/*.md")
    for page in sorted(PROJECT.glob(pattern))
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def sections():
    """The worked examples by their heading: (language, text) of each fenced block."""
    parts = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## ")[1:]
    return {part.splitlines()[0]: BLOCK.findall(part) for part in parts if BLOCK.search(part)}


def change(text, diff):
    """`text` with the lines of a diff put in and taken out; those that are there already must stand there once."""
    lines = [(line[:1], line[1:]) for line in diff.splitlines()]
    before, after = ("".join(f"{line}\n" for sign, line in lines if sign != other) for other in "+-")
    assert f"\n{text}".count(f"\n{before}") == 1, f"not there, or more than once:\n{before}"
    return f"\n{text}".replace(f"\n{before}", f"\n{after}")[1:]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with the changes of all examples."""
    folder = tmp_path_factory.mktemp("contributing")
    for name in ("lib", "params"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "notebooks").mkdir()
    shutil.copy(PROJECT / "notebooks" / "train.ipynb", folder / "notebooks")
    for language, text in (block for blocks in sections().values() for block in blocks):
        if language != "python":
            first, rest = text.split("\n", 1)
            path = folder / first.removeprefix("# ")
            if language == "diff":
                path.write_text(change(path.read_text(encoding="utf-8"), rest), encoding="utf-8")
            else:
                path.write_text(rest, encoding="utf-8")
    return folder


def python(project, code):
    """Runs code in the copy and returns what it prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=project, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def example(heading):
    return next(text for language, text in sections()[heading] if language == "python")


def test_every_example_has_changes_and_a_block_that_runs_them():
    assert [*sections()] == ["A loss", "A network", "A data set", "A profile"]
    for blocks in sections().values():
        assert [language for language, _ in groupby(language for language, _ in blocks)] in (
            ["diff", "python"],
            ["yaml", "python"],
        )


def test_a_new_loss_and_a_new_network_train(project):
    loss, network = python(project, example("A loss") + example("A network")).splitlines()
    assert 0 < float(loss.strip("[]")) < 16  # a sum over the 16 images of the only batch, each in [0, 1]
    shape, loss = network.split(" [")
    assert shape == "(None, 32, 32, 1)" and 0 < float(loss.strip("]")) < 16


def test_a_new_data_set_is_decoded(project):
    printed = re.fullmatch(r"(.+?) (\(.*\)) \[ *(\S+) +(\S+?) *\]\n", python(project, example("A data set")))
    source, ids, *shares = printed.groups()
    assert (source, ids) == ("ovals", "('0', '1')")
    for radius, share in zip((10, 11), map(float, shares)):
        assert share == pytest.approx(3.14159 * radius**2 / 48**2, abs=0.02)


def test_a_new_data_set_leaves_the_cells_of_the_paper(project):
    code = (
        "from lib import config; from lib.analysis import paper; print(len(config.CELLS), *paper.DATASETS, "
        "config.resolve({'dataset': 'ovals', 'data': 'made-up'}).run_id)"
    )
    assert python(project, code) == f"{len(CELLS)} lfw helen bfcn32s-ovals-big-nohair-iou\n"


def test_a_new_profile_plans_its_runs(project):
    printed = python(project, example("A profile")).split()
    assert len(printed) == len(set(printed)) == 2 * 3 * 2
    assert "plain32s-lfw-big-nohair-brier-seed1" in printed


def test_other_runs_keep_the_code_that_their_key_counts(project):
    for name in ("model", "loss"):
        for value in PAPER[name] + BEYOND[name]:
            config = resolve({name: value})
            assert provenance.code(config, project / "lib") == provenance.code(config, PROJECT / "lib"), value


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_and_modules_of_a_page_are_there(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), link
    for module in re.findall(r"-m (lib[.\w]*)", text):
        path = PROJECT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    for path in re.findall(r"`((?:lib|tests|params|notebooks)/[\w./-]*)`", text):
        assert (PROJECT / path).exists(), path


def test_the_readme_is_short():
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").split()) <= 900
