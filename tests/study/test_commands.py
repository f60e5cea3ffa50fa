"""lib/study/commands.py: bad input gets one sentence, and every command has the options that it uses."""

import os
import shlex
import subprocess
import sys

import pytest
from tiny_runs import cli

from lib import PROJECT
from lib.study import commands


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["run", "--profile", "huge"], ["--profile", "huge", "paper"]),
        (["run", "--only", "*-imagenet-*"], ["--only", "*-imagenet-*", "plan"]),
        (["run", "--workers", "0"], ["--workers", "1 or more"]),
        (["run", "--seed", "-1"], ["seed", "-1"]),
        (["plan", "--seeds", "300000"], ["--seeds", "10000"]),
        (["run", "--timeout", "inf"], ["--timeout", "a million"]),
        (["plan", "--out", "n" * 300], ["nnn", "name too long", "another path"]),
        (["run", "--profile", "small", "--data", "/nowhere"], ["/nowhere", "fetch"]),
        (["run", "--out", "/dev/null/study"], ["--out", "/dev/null/study", "cannot be written"]),
        (["report", "--out", "/nowhere/study"], ["/nowhere/study", "run"]),
        (["run", "--out", b"st\xff".decode(errors="surrogateescape")], ["--out", "not text"]),
        (["plan", "--out", "a\nb"], ["--out", "not text"]),
        (["report", "--out", "/nowhere/\u00a0\u3000"], ["/nowhere/", "there is no such study folder"]),
    ],
)
def test_bad_input_gets_one_sentence(arguments, words, monkeypatch, capfd):
    monkeypatch.chdir(PROJECT)
    assert commands.main(arguments) == 2
    printed, error = capfd.readouterr()
    assert printed == "" and error.startswith("error: ") and error.count("\n") == 1
    for word in words:
        assert word in error


@pytest.mark.parametrize("address", ["tls://127.0.0.1:1", "ucx://h:1"])
def test_a_scheduler_that_does_not_answer_gets_one_sentence_and_a_status(address):
    """In a process of its own, as Dask logs to the standard error."""
    called = cli("run", "--out", "outputs/none", "--scheduler", address)
    assert called.returncode == 2 and called.stdout == ""
    assert called.stderr.startswith(f"error: --scheduler: no Dask scheduler answers at {address}")
    assert called.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "--only", "*"],
        ["check", "--data", "x"],
        ["doctor", "--workers", "2"],
        ["publish", "--to", "x", "--force"],
        ["rerun", "x", "--seed", "1"],
    ],
)
def test_what_a_command_does_not_use_is_no_option_of_it(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        commands.main(arguments)
    assert "unrecognized arguments" in capsys.readouterr().err


def test_a_working_directory_that_is_gone(tmp_path):
    called = subprocess.run(
        f"mkdir gone; cd gone; rmdir ../gone; {shlex.quote(sys.executable)} -m lib.study plan",
        shell=True,
        cwd=tmp_path,
        text=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    assert called.returncode == 2 and called.stderr == "error: the working directory is gone; change to another one\n"


def test_a_broken_pipe_does_not_make_a_run_a_success(monkeypatch, tmp_path, capsys):
    def broken(*_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(commands, "run", broken)
    assert commands.main(["run", "--out", str(tmp_path / "study")]) == 2
    assert "Broken pipe" in capsys.readouterr().err
    monkeypatch.setattr(commands, "read_study", broken)
    assert commands.main(["check", "--out", str(tmp_path / "study")]) == 2
