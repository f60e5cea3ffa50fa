"""A notebook under nbval, in a process of its own."""

import subprocess
import sys


def under_nbval(notebook, mode):
    """Executes a notebook file, which must then pass; `mode` is "--nbval" (outputs are compared) or "--nbval-lax"."""
    options = ("-q", "-p", "no:cacheprovider", "--nbval-current-env", "--nbval-cell-timeout=300", "--color=no", mode)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, notebook.name], cwd=notebook.parent, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-1000:]
