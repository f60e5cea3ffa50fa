"""The report of a study: the executed analysis notebook, tables as CSV, one HTML page that works offline."""

import os
import tempfile
from html import escape
from itertools import product
from pathlib import Path

from lib import PROJECT, InputError, outputs, reason
from lib.analysis import comparisons, conditions, pairs, paper, starts, stopping, tables
from lib.outputs import Study
from lib.study import execute
from lib.view import plots, report_masks

NOTEBOOKS = PROJECT / "notebooks"
# The second line behind `lib.markdown`: a page without scripts, frames, forms and addresses, of these elements alone.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
ELEMENTS = (
    "h1 h2 h3 p a b strong em code pre ul ol li br hr blockquote div span table caption thead tbody tfoot tr th td"
).split()
ATTRIBUTES = {"a": ["href"], "th": ["scope", "style"], "td": ["colspan", "style"], "caption": ["style"]}
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
body {{ max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff;
       font: 1rem/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }}
.text_cell, .output_markdown {{ max-width: 46rem; }}
h1, h2, h3 {{ line-height: 1.25; }}
h2 {{ margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem; }}
code {{ font-size: 0.85em; background: #f3f3f3; padding: 0.1em 0.3em; white-space: nowrap; }}
img {{ max-width: 100%; height: auto; }}
.output_html {{ overflow-x: auto; margin: 1rem 0; }}
table {{ border-collapse: collapse; font-size: 0.8rem; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; font-weight: 600; padding: 0.3rem 0; }}
th, td {{ padding: 0.2rem 0.4rem; text-align: right; border-bottom: 1px solid #e0e0e0; }}
th {{ vertical-align: bottom; font-weight: 600; }}
th:first-child, td:first-child {{ text-align: left; white-space: nowrap; }}
tfoot td, tfoot td:first-child {{ color: #555; border: 0; white-space: normal; }}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def write(study: Path) -> str:
    """Writes `analysis.ipynb`, `report.html` and `tables/*.csv` of a study; no file is left incomplete.

    The notebook of a study beyond the paper's 32 runs is `beyond.ipynb`.

    Returns:
        The paths, in a few lines.
    Raises:
        InputError: no such study, no finished run in it, a run's file that cannot be read, or a folder that
            cannot be written.
    """
    study = Path(study).resolve()
    contents = outputs.read_study(study)
    outputs.refuse_links(study, "tables")
    try:
        with tempfile.TemporaryDirectory(dir=study, prefix=".report-") as folder:
            is_beyond = conditions.is_beyond(contents)
            notebook = Path(folder) / ("beyond.ipynb" if is_beyond else "analysis.ipynb")
            page, picture = Path(folder) / "report.html", Path(folder) / "summary.png"
            page.write_text(executed(contents, notebook), encoding="utf-8")
            found = {} if is_beyond else pairs.differences(contents)
            if found and all(map(len, found.values())):
                plots.summary(found, pairs.differences()).savefig(picture, dpi=160)
            elif rows := stopping.intervals(contents):
                plots.difference_intervals(rows, "IoU loss − BCE").savefig(picture, dpi=160)
            for path in filter(Path.exists, (notebook, page, picture)):
                os.replace(path, study / path.name)
        written = csv_tables(contents)
        tables.write(written, study / "tables")
    except OSError as error:
        raise InputError(
            f"{study}: the report cannot be written there ({error.strerror or error}); make "
            "room or change the folder's permissions"
        ) from error
    return (
        f"{study / 'report.html'}\n{study / notebook.name}\n"
        f"{study / 'tables'}: {', '.join(f'{name}.csv' for name in written)}"
    )


def executed(study: Study, notebook: Path) -> str:
    """The report of a study as one HTML page. `notebook` is written: analysis.ipynb or beyond.ipynb, executed."""
    _execute(study.folder, notebook)
    more = "" if conditions.is_beyond(study) else report_masks.html(study)
    return html(notebook, f"IoU loss against BCE: {study.folder.name}", more)


def csv_tables(study: Study) -> dict[str, tables.Table]:
    """Every table of a study by its file name."""
    if conditions.is_beyond(study):
        more = {"starts": starts.starts_table(study)} if starts.has_both(study) else {}
        found = comparisons.tables(study.folder.name, study) | more
        return found | stopping.tables(study) | {"runs": tables.runs_table(study)}
    found = {
        f"table-{number}": tables.paper_table(study, *names)
        for number, names in enumerate(product(paper.MODELS, paper.DATASETS), start=3)
    }
    return found | {
        "statistics": tables.statistics_table(study),
        "statistics-paper": tables.statistics_table(),
        "subsets": tables.subsets_table(study),
        "bounds": tables.bounds_table(study),
        "bounds-paper": tables.bounds_table(),
        "implied-shares-paper": tables.implied_shares_table(),
        **stopping.tables(study),
        "runs": tables.runs_table(study),
    }


def html(notebook: Path, title: str, more: str = "") -> str:
    """An executed notebook, with `more` below it, as one HTML page without code, scripts or addresses."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        sanitize_html=True,
        template_name="basic",
        exclude_input=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    exporter.register_filter("clean_html", _clean)
    body, _ = exporter.from_filename(str(notebook))
    return PAGE.format(title=escape(title), policy=POLICY, body=body + more)


def _clean(html: str) -> str:
    """HTML of an output with `ELEMENTS` alone; of others the tags are shown as text."""
    from bleach import clean
    from bleach.css_sanitizer import CSSSanitizer

    return clean(html, ELEMENTS, ATTRIBUTES, css_sanitizer=CSSSanitizer(["text-align"]))


def _execute(study, target):
    """Executes the analysis of `study` and writes it to `target`. Raises InputError if the notebook does."""
    from papermill import PapermillExecutionError

    log = target.with_name("kernel.log")
    try:
        execute.execute_notebook(NOTEBOOKS / target.name, target, {"study_dir": str(study)}, {}, log)
    except PapermillExecutionError as error:
        if error.ename == InputError.__name__:
            raise InputError(error.evalue) from error
        raise
    except (OSError, InputError):
        raise
    except Exception as error:  # a kernel that died or did not start
        raise InputError(
            f"{study}: {target.name} was not executed to its end ({type(error).__name__}: {reason(error)}); nothing "
            "was changed, run the same command again"
        ) from error
