"""JupyterLab as `make lab` starts it, on a copy of the notebooks, and what one does in it with a browser."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
from playwright.sync_api import Page, expect

from lib import PROJECT

expect.set_options(timeout=30_000)  # a loaded machine takes its time
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false"},
}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextlib.contextmanager
def running(root: Path, study: str):
    """Starts JupyterLab in the folder `root`, its settings and all; yields a function from a notebook's name to its
    address. The inspector opens with `study`; one's own studies are in `outputs`."""
    shutil.copytree(PROJECT / "notebooks", root / "notebooks")
    path = root / "notebooks" / "inspect.ipynb"
    path.write_text(path.read_text().replace('study_dir: str = \\"\\"', f'study_dir: str = \\"{study}\\"'))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex()
    own = {
        f"JUPYTER{name}": str(root / ".jupyter" / name)
        for name in ("_CONFIG_DIR", "_DATA_DIR", "_RUNTIME_DIR", "LAB_SETTINGS_DIR", "LAB_WORKSPACES_DIR")
    }
    for name, settings in SETTINGS.items():
        path = Path(own["JUPYTERLAB_SETTINGS_DIR"], f"{name}.jupyterlab-settings")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--ServerApp.root_dir=.",
        "--LabApp.expose_app_in_browser=True",  # window.jupyterapp, for `notebook_of`
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with open(root / "lab.log", "wb") as log:
        server = subprocess.Popen(
            command,
            cwd=root,
            stdout=log,
            stderr=log,
            env={**os.environ, **own, "JUPYTER_TOKEN": token, "IOU_STUDY_OUTPUTS": str(root / "outputs")},
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api?token={token}")
                break
            except OSError:
                assert server.poll() is None, (root / "lab.log").read_text()[-2000:]
                time.sleep(0.25)
        yield lambda notebook: f"{address}/lab/tree/notebooks/{notebook}?token={token}&reset"
    finally:
        server.terminate()
        server.wait(120)


def run_notebook(page: Page, address: str) -> None:
    """Opens a notebook and runs all of its cells as a user does, by the menu; returns at once."""
    page.goto(address)
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()


def notebook_of(page: Page) -> nbformat.NotebookNode:
    """The open notebook as it is in the browser, with the outputs that it has now."""
    model = page.evaluate("JSON.stringify(window.jupyterapp.shell.currentWidget.context.model.toJSON())")
    return nbformat.reads(model, as_version=4)
