"""The front page: every study, its state, and the image on which the two losses disagree most."""

from pathlib import Path
from urllib.parse import quote

import ipywidgets
from IPython.display import HTML, display

from lib import InputError, config, html, outputs
from lib.outputs import State
from lib.view.inspector import Inspector


def front_page() -> None:
    """Displays the state of every study, with links to its notebooks.

    A button for each study opens the inspector on the image on which the two losses differ most.
    """
    states = outputs.studies()
    if not states:
        display(HTML("<p>No study yet: <code>make study</code> writes one.</p>"))
        return
    display(HTML(_overview(states)))
    place = ipywidgets.Output()

    def opener(state):
        def show(_):
            place.clear_output()
            with place:
                inspector = Inspector(state.folder)
                try:
                    inspector.show_largest_disagreement()
                except InputError as error:
                    inspector.message = str(error)
                display(inspector)

        return show

    buttons = []
    for state in states:
        if state.has_maps:
            button = ipywidgets.Button(
                description=f"{state.name}: where do the losses disagree most?",
                layout={"width": "auto"},
                tooltip=f"opens the inspector on {state.name}",
            )
            button.on_click(opener(state))
            buttons.append(button)
    display(ipywidgets.VBox([ipywidgets.HBox(buttons, layout={"flex_flow": "row wrap"}), place]))


def _overview(states: list[State]) -> str:
    """A table in HTML: a row for each study, with its failed and unreadable runs below it."""
    total, rows = len(config.CELLS) * len(config.PAPER["loss"]), []
    for state in states:
        planned = {cell.run_id(loss) for cell in config.CELLS for loss in config.PAPER["loss"]}
        known = {*state.done, *state.failed, *state.running}
        is_papers = {run.partition("-seed")[0] for run in known} <= planned  # else a grid, whose plan is not known here
        missing = sorted(planned - known) if is_papers else []
        links = [_link(state.folder / file, file) for file in ("analysis.ipynb", "beyond.ipynb", "report.html")]
        links += [_link(state.folder / "tables" / "README.md", "tables")]  # JupyterLab's links open files, not folders
        details = [
            f"<li>{_link(state.folder / '.failed' / run / 'train.ipynb', run) or html(run)}: {html(reason)}</li>"
            for run, reason in state.failed.items()
        ]
        details += [f"<li>{html(problem)}</li>" for problem in state.problems]
        details += [f"<li>missing: {html(', '.join(missing))}</li>"] if missing else []
        notebooks = [link for run in state.done if (link := _link(state.folder / run / "train.ipynb", run))]
        cells = [
            html(state.name),
            f"{len(state.done)} of {total}" if is_papers and len(known) <= total else len(state.done),
            len(state.running),
            len(state.failed),
            len(missing),
            " ".join(filter(None, links)),
        ]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        for title, lines in (
            (f"{len(notebooks)} executed notebooks", [f"<li>{link}</li>" for link in notebooks]),
            ("failed and missing runs", details),
        ):
            if lines:
                rows.append(
                    '<tr><td colspan="6" style="text-align: left"><details>'
                    f"<summary>{html(state.name)}: {title}</summary><ul>{''.join(lines)}</ul></details></td></tr>"
                )
    header = "".join(
        f'<th scope="col">{name}</th>' for name in ("study", "runs done", "running", "failed", "missing", "open")
    )
    return (
        f"<table><caption>Studies found</caption><thead><tr>{header}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _link(path: Path, text: str) -> str:
    """A link that JupyterLab opens from the notebook's folder; "" if there is no such file.

    It opens neither hidden files nor, in general, those outside the folder above: the path stands in place of the link.
    """
    if not path.is_file():
        return ""
    above = Path.cwd().parent  # the project, or a user's home with a copy of the notebooks
    inside = path.relative_to(above) if path.is_relative_to(above) else None
    if inside is None or any(part.startswith(".") for part in inside.parts):
        return f"{html(text)} (<code>{html(path)}</code>)"
    return f'<a href="../{quote(inside.as_posix())}">{html(text)}</a>'
