"""Runs of seconds: the study with tiny nets and pictures, and the command line in a process of its own."""

import os
import subprocess
import sys

from lib import PROJECT, params

TINY = {
    "synthetic_images": 14,
    "image_size": 64,
    "encoder_weights": "none",
    "encoder_width": 0.125,
    "fc_units": 8,
    "trainable_blocks": 1,
    "learning_rate": 0.0005,
    "patience": 4,
    "epochs": 2,
    "batch_size": 4,
}
RUN = "bfcn32s-lfw-small-nohair-"


def tiny(only, **overrides):
    return params.configurations("demo", only, {**TINY, **overrides})


def cli(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "lib.study", *map(str, arguments)],
        cwd=PROJECT,
        text=True,
        capture_output=True,
        env={**os.environ, **environment},
    )
