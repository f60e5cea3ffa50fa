"""Keras with the project's settings, whatever the user's are: the rest of lib takes it from here alone."""

from lib.checks import surroundings

surroundings.own()  # what must be set, or refused, before Keras is imported

import keras  # noqa: E402
from keras import ops  # noqa: E402

surroundings.own()  # what Keras has read of the user's files

__all__ = ["keras", "ops"]
