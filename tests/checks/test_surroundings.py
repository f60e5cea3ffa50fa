"""lib/checks/surroundings.py: settings of the user's libraries change no run, or are refused in a sentence."""

import ctypes
import io
import json
import os
import sys
from pathlib import Path

import keras
import pytest

from lib import InputError
from lib.checks import surroundings


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of Keras' settings, in a process that has not imported Keras."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delitem(sys.modules, "keras")
    return tmp_path


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ('{"backend": "theano"}', "keras.json: backend: 'theano' cannot be used here; set it to an installed one of "),
        ('{"backend": "numpy"}', "keras.json: backend: 'numpy' cannot be used here"),
        ('{"backend": ["jax"]}', r"keras.json: backend: .*'jax'.* cannot be used here"),
        ('{"backend": null}', "keras.json: backend: 'None' cannot be used here"),
        ('{"floatx": "float128"}', "keras.json: floatx is not what Keras reads; correct it or remove the file"),
        ('{"floatx": ["float16"]}', "keras.json: floatx is not what Keras reads"),
        ('{"image_data_format": "channels"}', "keras.json: image_data_format is not what Keras reads"),
        ('{"epsilon": 1}', "keras.json: epsilon is not what Keras reads"),
        ("[1]", "keras.json: it is not what Keras reads"),
    ],
)
def test_settings_with_which_no_run_can_start_are_refused_by_file(home, settings, sentence):
    (home / "keras.json").write_text(settings)
    with pytest.raises(InputError, match=sentence):
        surroundings.check()


def test_a_backend_of_the_environment_comes_first(home, monkeypatch):
    (home / "keras.json").write_text('{"backend": "theano"}')
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    surroundings.check()
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(InputError, match="^KERAS_BACKEND: 'theano' .*, or unset it$"):
        surroundings.check()


@pytest.mark.parametrize("settings", [None, "", "{", "{}", '{"backend": "tensorflow", "more": 1}'])
def test_other_files_are_as_keras_has_them(home, settings):
    if settings is not None:
        (home / "keras.json").write_text(settings)
    surroundings.check()
    assert surroundings.overruled() == []


def test_what_cannot_be_opened_is_refused(home):
    (home / "keras.json").mkdir()
    with pytest.raises(InputError, match=r"keras.json: cannot be read \(Is a directory\); change its permissions"):
        surroundings.check()


def test_variables_that_change_numbers_are_dropped_before_keras_and_refused_after(monkeypatch, tmp_path):
    for name in surroundings.DROPPED:
        monkeypatch.setenv(name, "1")
    with pytest.raises(InputError, match="KERAS_MAX_EPOCHS: is set and Keras was imported with it"):
        surroundings.own()
    monkeypatch.delitem(sys.modules, "keras")
    assert surroundings.overruled()[-len(surroundings.DROPPED) :] == list(surroundings.DROPPED)
    surroundings.own()
    assert not set(surroundings.DROPPED) & set(os.environ)


def test_a_process_has_the_projects_settings_again_whatever_was_set():
    before = keras.config.dtype_policy()
    try:
        keras.config.set_floatx("float16")
        keras.config.set_image_data_format("channels_first")
        keras.config.set_epsilon(0.1)
        keras.config.set_dtype_policy("mixed_float16")
        keras.config.set_max_epochs(1)
    finally:
        surroundings.own()
    held = surroundings.held()
    assert (held["floatx"], held["image_data_format"], held["dtype_policy"]) == ("float32", "channels_last", "float32")
    assert keras.config.epsilon() == 1e-7 and keras.config.dtype_policy() == before
    assert keras.config.max_epochs() is None


def test_a_network_of_another_dtype_is_refused():
    network = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 1, dtype="mixed_bfloat16")])
    with pytest.raises(InputError, match="network: has layers of dtype mixed_bfloat16, runs are made in float32"):
        surroundings.check_network(network)


def test_the_record_says_what_held_and_no_path(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_use_thunk_runtime=false --xla_gpu_cuda_data_dir=/home/ann/cuda")
    held = surroundings.held()
    assert held["variables"]["XLA_FLAGS"] == "--xla_cpu_use_thunk_runtime=false"
    assert json.loads(json.dumps(held)) == held


def test_kernels_have_none_of_the_users_styles_and_startup_files(tmp_path):
    dirty = dict.fromkeys((*surroundings.DROPPED, *surroundings.NOT_OF_KERNELS, "IPYTHONDIR", "HOME"), "x")
    clean = surroundings.of_kernels(dirty, tmp_path)
    assert clean == surroundings.SET | {
        "HOME": "x",
        "IPYTHONDIR": str(tmp_path),
        "MATPLOTLIBRC": os.devnull,
        "PYTHONUTF8": "1",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_kept():
    assert surroundings.keep_memory()
    library = ctypes.CDLL(None)
    library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    size = 300_000_000
    block = library.malloc(ctypes.c_size_t(size))
    ctypes.memset(block, 1, size)
    full = resident()
    library.free(block)
    assert resident() > full - size / 2  # with the default settings the block would go back at once


def test_what_a_terminal_cannot_show_is_escaped(monkeypatch):
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    surroundings.escape_output()
    print("größe")
    narrow.flush()
    assert narrow.buffer.getvalue() == b"gr\\xf6\\xdfe\n"
