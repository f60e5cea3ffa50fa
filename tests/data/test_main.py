"""lib/data/__main__.py: what `python -m lib.data` prints, and how it ends."""

import pytest
from official_files import lfw_files, place

from lib.data import fetch
from lib.data.__main__ import main


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
