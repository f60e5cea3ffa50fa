"""IoU loss against binary cross-entropy: models, losses, data and the study (van Beers et al., 2019)."""

import codecs
import os
import re
import sys
import time
from html import escape
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ARRIVAL = 1.0  # seconds in which the cells of Run All reach the kernel


class InputError(ValueError):
    """Bad input from the user: one sentence that says what is wrong, where (file or parameter) and what to do.

    Command lines print it without a traceback and exit with status 2; notebooks show it as it is. It is printable.
    """

    def __init__(self, text: str):
        super().__init__(printable(text))

    def _render_traceback_(self) -> list[str]:
        """What IPython prints instead of a traceback.

        A notebook's kernel drops the cells that wait when one has failed, if they have reached it. A refusal
        is so quick that some cells of Run All come later, so it waits for them.
        """
        if "ipykernel" in sys.modules:
            time.sleep(ARRIVAL)
        return [f"{type(self).__name__}: {self}"]


def outputs_folder() -> Path:
    """The folder of studies and cache: $IOU_STUDY_OUTPUTS, from the project's folder, else its `outputs/`.

    Raises InputError for the home folder of an unknown user.
    """
    given = os.environ.get("IOU_STUDY_OUTPUTS") or "outputs"
    try:
        return PROJECT / Path(given).expanduser()
    except RuntimeError as error:
        raise InputError(f"IOU_STUDY_OUTPUTS: {given}: {reason(error)}; set it to another folder") from error


def reason(error: Exception) -> str:
    """What an exception of another library says: a printable line of at most 200 characters, or its type."""
    return printable(" ".join(str(error).split())[:200] or type(error).__name__)


# ---- foreign text: from records, names of files, messages of libraries ---------------------------------------


def printable(text: str) -> str:
    """A text on one line, with a replacement character for each that is not printable, as those of escape codes."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in re.sub(r"\s", " ", text)
    )


# Signs that mean something in Markdown: anywhere, beside a word, in addresses that become links, at the beginning.
MEANT = re.compile(r"[&<>`\[\]*~|@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=[wW]{3})\.|^[-#+=\d]")


def markdown(text: str) -> str:
    """Foreign text as Markdown that shows it as it is: no HTML, emphasis, code, link or formula."""
    return _apart(MEANT.sub(lambda match: f"&#{ord(match[0])};", " ".join(printable(str(text)).split())))


def html(text: str) -> str:
    """Foreign text as HTML that shows it as it is, in JupyterLab too, which looks for formulas in it."""
    return _apart(escape(printable(str(text))))


def _apart(text: str) -> str:
    """Signs of formulas as elements of their own, as MathJax looks for pairs of signs in what is shown."""
    return re.sub(r"[$\\]", lambda match: f"<span>&#{ord(match[0])};</span>", text)


def plain(text: str) -> str:
    """Foreign text for a figure, in which matplotlib sees no formula."""
    return str(text).replace("$", r"\$")


# Marks at the start of a text; those of UTF-32 come first, as that of UTF-16 begins in the same way.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def as_text(content: bytes) -> str:
    """The text of a file as editors and spreadsheets save it: UTF-8, or UTF-16 or UTF-32 with their mark.

    Raises UnicodeDecodeError for others.
    """
    return content.decode(next((code for mark, code in MARKS.items() if content.startswith(mark)), "utf-8"))
