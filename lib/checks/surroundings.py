"""Settings of the user's libraries: what a run sets itself, what it refuses, and what held, for the record.

`own` is for the process that trains, before and after Keras is imported (`checks.backend` calls it); `of_kernels` for
the kernels of a batch; `check` and `overruled` are what `run` and `doctor` look at before anything starts.
"""

import contextlib
import ctypes
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from lib import InputError, reason

BACKENDS = ("tensorflow", "jax", "torch")
# Of Keras; all figures of the project, and all networks, are made for these.
KERAS = {"floatx": "float32", "image_data_format": "channels_last", "epsilon": 1e-7}
# Variables that change numbers or stop a run, and that nothing here needs: runs are made without them.
DROPPED = (
    *("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"),
    *("TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "TF_ENABLE_AUTO_MIXED_PRECISION", "NVIDIA_TF32_OVERRIDE"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    *("JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_DEFAULT_DTYPE_BITS", "JAX_DISABLE_JIT", "JAX_DEBUG_NANS"),
)
SET = {"KERAS_NNX_ENABLED": "false"}  # else the user's file says it, and Keras asks for another library
# Variables that can change last digits and that a machine can need: they are in the record if they are set.
RECORDED = (
    *("XLA_FLAGS", "TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC", "TF_CUDNN_USE_AUTOTUNE", "TF_GPU_ALLOCATOR"),
    *("CUBLAS_WORKSPACE_CONFIG", "JAX_PLATFORMS", "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "MKL_CBWR"),
    *("MKL_NUM_THREADS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "NPY_DISABLE_CPU_FEATURES", "ATEN_CPU_CAPABILITY"),
)
# Variables of Python and matplotlib that are the user's own affair, but not that of the batch's kernels.
NOT_OF_KERNELS = ("MPLBACKEND", "MATPLOTLIBRC", "PYTHONIOENCODING", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONSTARTUP")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's mallopt


# ---- what is refused ----------------------------------------------------------------------------------------


def keras_file() -> Path:
    """Where Keras looks for the user's settings."""
    home = os.path.expanduser("~")
    home = home if os.access(home, os.W_OK) else "/tmp"
    return Path(os.path.expanduser(os.environ.get("KERAS_HOME", os.path.join(home, ".keras")))) / "keras.json"


def keras_settings() -> dict:
    """The user's settings of Keras; {} without a file, and of text that is no JSON, as Keras has it.

    Raises:
        InputError: a file with which Keras cannot be imported.
    """
    path = keras_file()
    try:
        found = json.loads(path.read_text()) if os.path.lexists(path) else {}
    except (ValueError, RecursionError):
        return {}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); change its permissions or remove it") from error
    allowed = {"floatx": ("float16", "float32", "float64"), "image_data_format": ("channels_last", "channels_first")}
    wrong = None if isinstance(found, dict) else "it"
    for name, values in allowed.items():
        if not wrong and name in found and found[name] not in values:
            wrong = name
    if not wrong and not isinstance(found.get("epsilon", 1e-7), float):
        wrong = "epsilon"
    if wrong:
        raise InputError(f"{path}: {wrong} is not what Keras reads; correct it or remove the file")
    return found


def check() -> None:
    """Raises InputError if Keras cannot be used: another backend than `BACKENDS`, or settings that it cannot read."""
    loaded = sys.modules.get("keras")
    if hasattr(loaded, "config"):
        name, source = loaded.config.backend(), f"the backend that Keras was imported with, {keras_file()}"
        remedy = "set KERAS_BACKEND"
    else:
        settings = keras_settings()
        if os.environ.get("KERAS_BACKEND"):
            name, source, remedy = os.environ["KERAS_BACKEND"], "KERAS_BACKEND", "set it"
        else:
            name, source, remedy = settings.get("backend", BACKENDS[0]), f"{keras_file()}: backend", "set it"
    if name not in BACKENDS or not (loaded or importlib.util.find_spec(name)):
        rest = ", or unset it" if source == "KERAS_BACKEND" else ", or remove it"
        raise InputError(
            f"{source}: {str(name)[:100]!r} cannot be used here; {remedy} to an installed one of "
            f"{', '.join(BACKENDS)}{rest}"
        )


# ---- what is set --------------------------------------------------------------------------------------------


def own() -> None:
    """Sets what a run needs in this process: variables, the allocator, and Keras where it is imported.

    Raises:
        InputError: see `check`; or one of `DROPPED` is set and Keras has been imported with it.
    """
    check()
    loaded = hasattr(sys.modules.get("keras"), "config")
    for name in [name for name in DROPPED if name in os.environ]:
        if loaded:
            raise InputError(
                f"{name}: is set and Keras was imported with it, which changes numbers; unset it and start Python "
                "or the kernel again"
            )
        del os.environ[name]
    keep_memory()
    os.environ |= SET
    for name, value in thread_limits(1).items():  # who trains without a word computes as the runs of a study do
        os.environ.setdefault(name, value)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # no notes, which TensorFlow writes while it trains too
    if loaded:
        config = sys.modules["keras"].config
        config.set_floatx(KERAS["floatx"])
        config.set_image_data_format(KERAS["image_data_format"])
        config.set_epsilon(KERAS["epsilon"])
        config.set_dtype_policy(KERAS["floatx"])
        config.set_max_epochs(None)
        config.set_max_steps_per_epoch(None)


def thread_limits(threads: int) -> dict[str, str]:
    """The environment variables that limit the threads of TensorFlow, torch and numpy."""
    return {**dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"), str(threads)), "TF_NUM_INTEROP_THREADS": "1"}


def keep_memory() -> bool:
    """Lets this process keep freed memory; whether it does.

    glibc returns freed memory to the system and every training step allocates it again: the page faults took a fifth of
    the processor time, and more on virtual machines.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
    return False


def of_kernels(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The variables of a batch's kernel: the user's but for those that change a run; IPython's files are in `folder`.

    So no start-up file of the user's IPython, style of matplotlib or filter of warnings reaches the kernel.
    """
    kept = {name: value for name, value in environment.items() if name not in (*DROPPED, *NOT_OF_KERNELS)}
    return kept | SET | {"IPYTHONDIR": str(folder), "MATPLOTLIBRC": os.devnull, "PYTHONUTF8": "1"}


def escape_output() -> None:
    """Prints what the terminal's encoding does not have with escapes, so that no command fails after its work."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


# ---- what held ----------------------------------------------------------------------------------------------


def held() -> dict:
    """What holds in this process, for the record: Keras' settings, the allocator, and variables that can matter."""
    config = sys.modules["keras"].config
    return {
        "floatx": config.floatx(),
        "image_data_format": config.image_data_format(),
        "dtype_policy": config.dtype_policy().name,
        "allocator": "keeps memory" if keep_memory() else "the system's",
        "variables": {name: _without_paths(os.environ[name]) for name in RECORDED if os.environ.get(name)},
    }


def _without_paths(value):
    return " ".join(word for word in value.split() if "/" not in word)[:200]


def overruled() -> list[str]:
    """The user's settings that no run uses, in words."""
    settings = keras_settings()
    found = [
        f"{name} {settings[name]} of {keras_file()}"
        for name, value in KERAS.items()
        if name in settings and settings[name] != value
    ]
    return found + [name for name in DROPPED if name in os.environ]


def check_network(network) -> None:
    """Raises InputError for a network that was made with another dtype than runs have."""
    other = sorted({layer.dtype_policy.name for layer in network.layers} - {KERAS["floatx"]})
    if other:
        raise InputError(
            f"network: has layers of dtype {reason(ValueError(other[0]))}, runs are made in {KERAS['floatx']}; build "
            "it with training.build, and set no dtype before"
        )
