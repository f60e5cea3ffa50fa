"""The lessons as tests run them: with their solutions, and what their cells show."""

import re
from collections import defaultdict

import nbformat
from nbval.plugin import coalesce_streams

from lib import PROJECT

FOLDER = PROJECT / "notebooks" / "lessons"
LESSONS = sorted(FOLDER.glob("[0-9]*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


def tags(cell):
    return cell.metadata.get("tags", [])


def solution_code(cell):
    (code,) = re.findall(r"^```python\n(.*?)^```", cell.source, re.M | re.S)
    return code


def with_solutions(notebook):
    """The notebook with two cells more after each exercise: the solution, and the check again, which must not raise."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if "solution" in tags(cell):
            check = nbformat.v4.new_code_cell(cells[-2].source, metadata={"tags": ["nbval-ignore-output"]})
            cells += [nbformat.v4.new_code_cell(solution_code(cell)), check]
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def shown(cell):
    """What a cell shows, as nbval compares it: kind -> texts, without pictures and widgets."""
    found = defaultdict(list)
    for output in coalesce_streams(cell.outputs):
        if output.output_type == "stream":
            found[output.name].append(output.text)
        elif output.output_type == "error":
            found["error"].append((output.ename, output.evalue))
        for kind, value in output.get("data", {}).items():
            if not kind.startswith("image/") and "widget" not in kind:
                found[kind].append(value)
    return dict(found)


def differences(committed, ran):
    """Cells of a lesson `with_solutions` that did not run, raised where they must not, or show something else."""
    found = []
    for before, after in zip(committed.cells, ran.cells, strict=True):
        assert before.source == after.source
        if before.cell_type != "code":
            continue
        if after.execution_count is None:
            found.append((before.source, "was not run"))
        elif "nbval-ignore-output" in tags(before):
            if any(output.output_type == "error" for output in after.outputs):
                found.append((before.source, shown(after)))
        elif shown(after) != shown(before):
            found.append((before.source, shown(before), shown(after)))
    return found
