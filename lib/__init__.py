"""IoU loss against binary cross-entropy: models, losses, data and the study (van Beers et al., 2019)."""


class InputError(ValueError):
    """Bad input from the user: one sentence that says what is wrong, where (file or parameter) and what to do.

    Command lines print it without a traceback and exit with status 2; notebooks show it as it is.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython prints instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]
