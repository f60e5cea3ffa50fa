"""The lessons: each runs to its committed outputs, its exercises can be solved, and its parts are all there."""

import ast
import re

import nbformat
import pytest
from lab import CHROMIUM
from lessons import FOLDER, LESSONS, read, solution_code, tags, with_solutions
from under_nbval import under_nbval

PARTS = ("exercise", "check", "solution")
LEVELS = ("easy", "medium", "hard")
MACHINE_PATH = re.compile(r"(?<![\w.])(/(home|root|tmp|var|opt|mnt|Users|private)/|[A-Z]:\\)")
SLOT = 90  # minutes

pytestmark = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def prose(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def exercises(notebook):
    """The cells of each exercise, as a list of (exercise, check, solution)."""
    found = [next((part for part in PARTS if part in tags(cell)), None) for cell in notebook.cells]
    return [notebook.cells[at : at + 3] for at, part in enumerate(found) if part == "exercise"]


def outputs(notebook):
    return [(cell, output) for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


# ---- they run ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(CHROMIUM is not None, reason="tests/view/test_browser.py runs it in JupyterLab, to the same end")
def test_runs_to_its_committed_outputs_and_its_solutions_pass(path, tmp_path):
    """nbval, strictly, in one execution: every committed output, unsolved checks among them, then each solution."""
    copy = tmp_path / path.name
    nbformat.write(with_solutions(read(path)), copy)
    under_nbval(copy, "--nbval")


# ---- their outputs are those of a clean run ----------------------------------------------------------------


def test_was_executed_once_from_top_to_bottom(path):
    notebook = read(path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any("image/png" in output.get("data", {}) for _, output in outputs(notebook))
    assert all("execution" not in cell.metadata for cell in cells) and "widgets" not in notebook.metadata


def test_outputs_hold_no_warnings_and_no_paths_of_a_machine(path):
    for cell, output in outputs(read(path)):
        assert output.get("name") != "stderr", cell.source
        text = {key: value for key, value in output.get("data", {}).items() if not key.startswith("image/")}
        found = MACHINE_PATH.search(f"{text} {output.get('text', '')} {output.get('traceback', '')}")
        assert not found, f"{found}: {cell.source}"


def test_each_unsolved_check_fails_with_a_hint_and_nothing_else_fails(path):
    notebook = read(path)
    checks = [check for _, check, _ in exercises(notebook)]
    assert [cell for cell, output in outputs(notebook) if output.output_type == "error"] == checks
    for check in checks:
        assert {"check", "raises-exception"} <= set(tags(check)) and "nbval-ignore-output" not in tags(check)
        (error,) = check.outputs
        assert error.ename == "AssertionError" and len(error.evalue.split()) >= 5, error.evalue


# ---- their parts -------------------------------------------------------------------------------------------


def test_has_goals_prerequisites_and_times_that_fit_the_slot(path):
    text = prose(read(path))
    assert text.startswith(f"# Lesson {int(path.name[:2])}")
    assert "**Goals.**" in text and "**You should know**" in text
    (table,) = re.findall(r"^\| part \| minutes \|\n\|---\|---\|\n((?:\|.*\n)+)", text, re.M)
    *parts, total = [int(re.search(r"(\d+)\**\s*\|$", row)[1]) for row in table.splitlines()]
    assert sum(parts) == total <= SLOT


def test_has_predictions_and_interactive_figures(path):
    notebook = read(path)
    assert len(re.findall(r"\*\*Predict\b", prose(notebook))) >= 3
    assert sum("interact(" in cell.source for cell in notebook.cells if cell.cell_type == "code") >= 1


def test_has_three_exercises_each_with_check_and_solution(path):
    notebook = read(path)
    order = [part for cell in notebook.cells for part in PARTS if part in tags(cell)]
    assert order == list(PARTS) * 3
    for number, (exercise, check, solution) in enumerate(exercises(notebook), start=1):
        assert f"### Exercise {number} ({LEVELS[number - 1]})" in prose(notebook)
        assert [part for cell in (exercise, check, solution) for part in tags(cell) if part in PARTS] == list(PARTS)
        (asked,), (given,) = (
            [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)][-1:]
            for source in (exercise.source, solution_code(solution))
        )
        assert [type(node) for node in asked.body] == [ast.Expr, ast.Expr] and ast.get_docstring(asked)
        assert asked.body[1].value.value is ... and "# your code" in exercise.source
        assert (asked.name, ast.dump(asked.args)) == (given.name, ast.dump(given.args))
        assert check.source.rstrip().endswith(f'print("Exercise {number}: passed")')
        assert solution.source.startswith("<details><summary>Solution</summary>")
        assert solution.source.rstrip().endswith("</details>")


def test_closes_with_roads_not_taken_and_references(path):
    headings = re.findall(r"^## (.+)$", prose(read(path)), re.M)
    assert headings[-3:] == ["Close", "Roads not taken", "References"]
    references = prose(read(path)).split("## References")[1]
    assert len(re.findall(r"^- .*?\((?:19|20)\d\d\)\.", references, re.M)) >= 4


def test_the_lecturers_page_knows_it(path):
    page = (FOLDER / "lecturer.md").read_text(encoding="utf-8")
    assert len(LESSONS) == 5 and path.name in page
