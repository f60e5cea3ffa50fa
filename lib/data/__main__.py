"""`python -m lib.data fetch|info lfw|helen [--data ROOT]`: downloads or describes the data sets."""

import argparse
import sys

from lib import InputError
from lib.checks.surroundings import escape_output
from lib.data.cache import typed_root
from lib.data.datasets import Dataset, binary_masks, load, split
from lib.data.layouts import HAIR, facts


def info(dataset: Dataset) -> str:
    """Images, shares of face and hair pixels (in all images and in the test part) and splits, as text."""
    n = len(dataset.ids)
    lines = [f"{facts(dataset.name).title}: {n:,} images from {dataset.source}", f"digest {dataset.digest}"]
    lines += [f"Note: {dataset.note}."] if dataset.note else []
    test = dataset.labels[split(n, dataset.name, "big").test]
    for part, labels in (("all images", dataset.labels), ("test part", test)):
        face, hair = binary_masks(labels, False).mean(), (labels == HAIR).mean()
        lines.append(f"{part}: face {face:.1%}, hair {hair:.1%}, both {face + hair:.1%} of the pixels")
    for size in facts(dataset.name).splits:
        parts = split(n, dataset.name, size)
        counts = [len(range(n)[part]) for part in (parts.train, parts.validation, parts.test)]
        lines.append(
            f"split {size}: {counts[0]} training, {counts[1]} validation, {counts[2]} test images"
            + (" (scaled down)" if parts.scaled else "")
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """`python -m lib.data fetch|info lfw|helen`; returns the exit status, 2 after an InputError."""
    parser = argparse.ArgumentParser("python -m lib.data", description="Download or describe the data sets.")
    commands = parser.add_subparsers(dest="command", required=True)
    fetch_parser = commands.add_parser("fetch", help="download the archives and verify them")
    info_parser = commands.add_parser(
        "info", help="print the number of images, shares of face and hair pixels, and splits"
    )
    for command in (fetch_parser, info_parser):
        command.add_argument("name", help="lfw or helen")
        command.add_argument(
            "--data",
            metavar="ROOT",
            help="data root, from where you are (default: $IOU_STUDY_DATA or data/, from the project's folder)",
        )
    fetch_parser.add_argument(
        "--url",
        metavar="URL",
        nargs="+",
        help="addresses to use instead of the official ones: of a file with its official "
        "name, or of a folder with the files (ending in /)",
    )
    info_parser.add_argument("--image-size", type=int, default=224, help="pixels (default: 224)")
    options = parser.parse_args(arguments)
    try:
        root = typed_root(options.data) if options.data else None
        if options.command == "fetch":
            from lib.data import fetch

            for path in fetch.fetch(options.name, root, options.url):
                print(path)
        else:
            print(info(load(options.name, options.image_size, root)))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:  # a folder that cannot be opened
        print(
            f"{error.filename or 'the data'}: {error.strerror or error}; use another path or change its permissions",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command begins again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    escape_output()
    sys.exit(main())
