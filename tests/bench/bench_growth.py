"""Rows on how the cost grows with images, image size, seeds and workers: measured against linear."""

import tempfile
from itertools import count

import numpy as np
from bench_batch import fill, quiet, seconds
from bench_timing import Row, Timing, epochs, made_up_task, on_gpu, sized
from matplotlib.figure import Figure

from lib import params, training
from lib.study import execute


def epoch_seconds(images, size, quick):
    """Seconds of an epoch of BFCN-32s on cached features."""
    config = sized("bfcn32s", on_gpu() and not quick, image_size=size, epochs=2 if quick else 6, patience=10)
    task = made_up_task(images, size)
    return Timing.of(epochs(lambda callbacks: training.fit(config, training.build(config), task, callbacks)))


def row(what, unit, points, factor=lambda x: x):
    """The row of a curve {x: seconds}: at its end the cost against a linear one from its start.

    `factor` says what a linear cost is proportional to, given x; 1 / x for a time that workers share.
    """
    xs, timings = list(points), list(points.values())
    proportional = [factor(x) for x in xs]
    exponent = np.polyfit(np.log(proportional), np.log([timing.median for timing in timings]), 1)[0]
    linear = timings[0].times(proportional[-1] / proportional[0])
    measured = ", ".join(f"{x} {unit} {timing.median:.3g} s" for x, timing in points.items())
    return Row(
        f"how the cost grows: {what}",
        f"linear from {xs[0]} to {xs[-1]} {unit}",
        timings[-1],
        linear,
        note=f"exponent {exponent:.2f}, linear is 1; {measured}",
        points=tuple((factor(x), timing.median) for x, timing in points.items()),
    )


def by_images(quick):
    size = 32 if quick else 224 if on_gpu() else 128
    counts = (20, 40) if quick else (500, 1000, 2000) if on_gpu() else (100, 200, 400)
    return [row("epoch, images", "images", {n: epoch_seconds(n, size, quick) for n in counts})]


def by_image_size(quick):
    images, sizes = (20, (32, 64)) if quick else (100, (64, 96, 128, 192))
    points = {size: epoch_seconds(images, size, quick) for size in sizes}
    return [row("epoch, pixels of an image", "px", points, lambda size: size * size)]


def by_seeds_and_workers(quick):
    """Wall time of a batch of one configuration with 1, 2 and 4 seeds on one worker, and with most of them on all."""
    most, numbers = 2 if quick else 4, count()
    seeds = (1, 2) if quick else (1, 2, 4)
    with tempfile.TemporaryDirectory() as folder:

        def wall(number, workers):
            return Timing(
                seconds(
                    lambda: quiet(
                        "-m",
                        "lib.study",
                        "run",
                        "--only",
                        "bfcn32s-lfw-big-nohair-iou*",
                        "--seeds",
                        number,
                        "--workers",
                        workers,
                        "--out",
                        f"{folder}/{next(numbers)}",
                    )
                )
            )

        fill(params.configurations("demo", "bfcn32s-lfw-big-nohair-iou"))
        by_seeds = {n: wall(n, 1) for n in seeds}
        rows = [row("batch on one worker, seeds", "seeds", by_seeds)]
        if len(execute.gpus()) or execute.cores() > 1:
            workers = {1: by_seeds[most], 2: wall(most, 2)}
            rows.append(row(f"batch of {most} seeds, workers", "workers", workers, lambda n: 1 / n))
    return rows


def draw(rows):
    """Figure with a log-log panel for each row that has points: measured, and linear from the first point."""
    figure = Figure(figsize=(3.2 * len(rows), 3), layout="constrained")
    for axes, row in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows):
        x, seconds = np.array(row.points).T
        axes.loglog(x, seconds, "o-", color="#0072B2", label="measured")
        axes.loglog(x, seconds[0] * x / x[0], "--", color="#767676", label="linear")
        axes.set_xticks(x, [f"{each:g}" for each in x], fontsize=8)
        ends = sorted({min(seconds), max(seconds)})
        axes.set_yticks(ends, [f"{each:.2g}" for each in ends], fontsize=8)
        axes.minorticks_off()
        axes.set_title(row.what.removeprefix("how the cost grows: "), fontsize=9)
        axes.set_xlabel("share of the work on one worker" if "workers" in row.what else row.what.split(", ")[-1])
        axes.set_ylabel("seconds")
    figure.axes[0].legend(frameon=False)
    return figure
