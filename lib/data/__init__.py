"""Images and labels: archives or drawn faces -> decoded, memory-mapped arrays -> splits.

The official layouts of LFW Part Labels and HELEN are described in `layouts`; the data root "synthetic" draws faces in
the same layouts and reads them with the same code.

Command line: `python -m lib.data fetch|info lfw|helen [--data ROOT]`.
"""

from lib.data.cache import cache_root, data_root
from lib.data.datasets import PARTS, Dataset, Split, binary_masks, digest, load, people, split
from lib.data.layouts import BACKGROUND, DATASETS, FACE, HAIR

__all__ = [
    "BACKGROUND",
    "DATASETS",
    "FACE",
    "HAIR",
    "PARTS",
    "Dataset",
    "Split",
    "binary_masks",
    "cache_root",
    "data_root",
    "digest",
    "load",
    "people",
    "split",
]
