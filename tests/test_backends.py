"""The numbers of lib/ on every installed backend of Keras, not only on the one that the tests run on."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

OTHERS = [
    backend
    for backend in ("tensorflow", "jax", "torch")
    if importlib.util.find_spec(backend) and backend != keras.backend.backend()
]
TESTS = ("test_losses.py", "test_models.py", "test_training.py", "beyond/test_surrogates.py", "beyond/test_networks.py")
WORDS = (
    "by_hand",
    "equations",
    "any_logit",
    "upsampling",
    "recomputed",
    "oracle",
    "unpooling",
    "other_networks_train_as_the_papers_do[segnet",
    "same_seed",
)
CHOSEN = " or ".join(WORDS)


@pytest.mark.parametrize("backend", OTHERS)
def test_losses_upsampling_and_training_on_another_backend(backend):
    """Hand-computed losses, gradients, the up-sampling layer, and one tiny run with its scores."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "OMP_NUM_THREADS": "1",
        # JAX mostly compiles: fast rather than well, and with no threads for so little
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false "
        "--xla_cpu_parallel_codegen_split_count=1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", CHOSEN, *TESTS],
        env=environment,
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout
