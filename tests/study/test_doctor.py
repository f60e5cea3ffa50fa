"""lib/study/doctor.py: sound here, and each fault found with its remedy."""

import subprocess
import sys

import pytest

from lib import PROJECT
from lib.data import layouts
from lib.study import doctor


def test_this_machine_is_sound():
    called = subprocess.run([sys.executable, "-m", "lib.study", "doctor"], cwd=PROJECT, text=True, capture_output=True)
    assert called.returncode == 0, called.stdout
    lines = [line for line in called.stdout.splitlines() if not line.startswith(" ")]
    assert [line[5:23].strip() for line in lines] == [
        "Python",
        "packages",
        "disk",
        "studies",
        "LFW Part Labels",
        "HELEN",
        "settings",
        "backend",
        "kernel",
    ]
    assert "6 * 7 = 42" in lines[-1] and "FAIL" not in called.stdout


def test_packages_of_other_versions_are_named(monkeypatch):
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda name: "0.0.1")
    finding = doctor.packages()
    assert "numpy 0.0.1 instead of ==" in finding.detail and "make setup" in finding.remedy


def test_another_python_is_fatal(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    assert doctor.python().fatal and "PYTHON=" in doctor.python().remedy


def test_a_missing_backend_is_fatal(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')\n")
    code = "from lib.study import doctor; f = doctor.backend(); print(f.fatal, f.detail, f.remedy)"
    called = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        text=True,
        capture_output=True,
        env={"KERAS_BACKEND": "torch", "PYTHONPATH": str(tmp_path), "PATH": ""},
    )
    assert called.stdout.startswith("True torch: ") and "KERAS_BACKEND" in called.stdout


def test_settings_of_the_user_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text('{"floatx": "float16", "backend": "tensorflow"}')
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    finding = doctor.settings()
    assert finding.detail == f"not used in runs: floatx float16 of {tmp_path}/keras.json, TF_ENABLE_ONEDNN_OPTS"
    assert not finding.fatal and not finding.remedy
    (tmp_path / "keras.json").write_text('{"backend": "theano"}')
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    finding = doctor.settings()
    assert finding.fatal and finding.detail.startswith(f"{tmp_path}/keras.json: backend: 'theano' cannot be used")
    assert "tensorflow, jax, torch" in finding.remedy and "KERAS_BACKEND" not in finding.remedy


def test_a_cache_that_cannot_be_written_is_fatal(monkeypatch):
    monkeypatch.setenv("IOU_STUDY_CACHE", "/dev/null/cache")
    assert doctor.disk().fatal and "IOU_STUDY_CACHE" in doctor.disk().remedy


def test_a_full_disk_is_told(monkeypatch):
    monkeypatch.setattr(doctor, "SPACE", 10**18)
    assert not doctor.disk().fatal and "make room" in doctor.disk().remedy


@pytest.mark.parametrize("name", layouts.DATASETS)
def test_missing_data_are_told_with_the_way_to_get_them(tmp_path, name):
    finding = doctor.dataset(name, str(tmp_path))
    assert not finding.fatal and f"fetch {name}" in finding.remedy


def test_an_archive_that_is_not_the_published_one_is_told(tmp_path):
    for archive, _ in layouts.DATASETS["lfw"].archives:
        (tmp_path / archive).write_bytes(b"something else")
    finding = doctor.dataset("lfw", str(tmp_path))
    assert finding.detail.count("not as published") == 2 and "fetch the official file" in finding.remedy


def test_what_cannot_be_read_is_a_finding_and_the_other_checks_go_on(monkeypatch):
    def unreadable(name, folder):
        raise PermissionError(13, "Permission denied", f"/data/{name}")

    monkeypatch.setattr(doctor.layouts, "find", unreadable)
    found = {finding.name: finding for finding in doctor.findings("/data")}
    assert "/data/lfw" in found["LFW Part Labels"].detail and "permissions" in found["LFW Part Labels"].remedy
    assert "/data/helen" in found["HELEN"].detail and found["kernel"].detail.startswith("runs a notebook")
