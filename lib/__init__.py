"""IoU loss against binary cross-entropy: models, losses, data and the study (van Beers et al., 2019)."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


class InputError(ValueError):
    """Bad input from the user: one sentence that says what is wrong, where (file or parameter) and what to do.

    Command lines print it without a traceback and exit with status 2; notebooks show it as it is.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython prints instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def reason(error: Exception) -> str:
    """What an exception of another library says: a printable line of at most 200 characters, or its type."""
    text = " ".join(str(error).split())[:200] or type(error).__name__
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
