"""lib/data/__main__.py: what `python -m lib.data` prints, and how it ends."""

import pytest
from official_files import lfw_files, place

from lib import InputError
from lib.data import cache, fetch
from lib.data.__main__ import main
from lib.study import commands


def test_info_and_errors_on_the_command_line(tmp_path, capsys):
    root = str(place(tmp_path, lfw_files()))
    assert main(["info", "lfw", "--data", root, "--image-size", "16"]) == 0
    out = capsys.readouterr().out
    for words in (
        "4 images from lfw-funneled.tgz",
        "face 50.0%, hair 25.0%, both 75.0%",
        "not LFW's 2,927",
        "split big: 2 training, 1 validation, 1 test images (scaled down)",
    ):
        assert words in out
    assert main(["info", "helen", "--data", root]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "python -m lib.data fetch helen" in captured.err


@pytest.mark.parametrize(
    "error, status, words",
    [
        (
            PermissionError(13, "Permission denied", "/closed/lfw"),
            2,
            "/closed/lfw: Permission denied; use another path",
        ),
        (KeyboardInterrupt(), 130, "stopped; the same command begins again"),
    ],
)
def test_a_command_that_is_stopped_says_so(error, status, words, monkeypatch, capsys):
    def stopped(*_):
        raise error

    monkeypatch.setattr(fetch, "fetch", stopped)
    assert main(["fetch", "lfw"]) == status
    assert words in capsys.readouterr().err


def test_a_relative_data_root_means_the_same_on_both_command_lines(tmp_path, monkeypatch, capsys):
    """The folder as seen from where it is typed."""
    place(tmp_path / "mine", lfw_files())
    (tmp_path / "elsewhere").mkdir()
    seen = []
    monkeypatch.setattr(commands, "configurations", lambda *arguments: seen.append(arguments[2]) or [])
    monkeypatch.setattr(fetch, "_fetch_one", lambda remote, root, *_: root)
    for folder, typed in ((tmp_path, "mine"), (tmp_path / "elsewhere", "../mine")):
        monkeypatch.chdir(folder)
        assert main(["info", "lfw", "--data", typed, "--image-size", "8"]) == 0
        assert "4 images" in capsys.readouterr().out
        assert main(["fetch", "lfw", "--data", typed]) == 0 == commands.main(["plan", "--data", typed])
        assert capsys.readouterr().out.startswith(f"{tmp_path / 'mine'}\n")
    assert seen == [{"data": str(tmp_path / "mine")}] * 2
    assert cache.typed_root("synthetic") == "synthetic"
    with pytest.raises(InputError, match="--data: '~nobody-here/x' cannot be used as a folder"):
        cache.typed_root("~nobody-here/x")
