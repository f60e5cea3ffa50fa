"""The configuration of a run: its parameters, their defaults, and where they are checked."""

import difflib
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

from lib import PROJECT, InputError
from lib.checks.arrays import LARGEST, shown

NAMED = ("model", "dataset", "size", "hair", "loss")  # parameters in the run id
NOTEBOOK = PROJECT / "notebooks" / "train.ipynb"
PAPER = {"model": ("bfcn32s", "fcresnet"), "dataset": ("lfw", "helen"), "loss": ("iou", "bce")}  # of the 32 runs
BEYOND = {
    "model": ("fcn8s", "fcn8s_resnet50", "segnet", "unet", "unet_resnet50"),
    "loss": (
        "dice",
        "tversky",
        "focal_tversky",
        "jaccard_distance",
        "jaccard_metric",
        "lovasz_hinge",
        "lovasz_sigmoid",
        "bce_iou",
    ),
}
KNOWN = PAPER["model"] + BEYOND["model"]  # networks besides those of keras.applications
CHOICES = {
    "dataset": ("lfw", "helen"),
    "size": ("big", "small"),
    "loss": PAPER["loss"] + BEYOND["loss"],
    "loss_reduction": ("own", "sum", "mean", "pooled"),
    "split": ("fixed", "random"),
    "batch_norm": ("trained", "frozen"),
    "score_start": ("zeros", "glorot"),
    "part": ("", "hair", "brows", "eyes", "nose", "mouth"),
    "monitor": ("val_iou", "val_iou_soft", "val_accuracy", "val_loss"),
}


class Cell(NamedTuple):
    """What losses are compared on, as a row of the paper's Tables 3-6: network, data set, size, hair or not."""

    model: str  # a name of models.NETWORKS; in the paper bfcn32s or fcresnet
    dataset: str  # lfw or helen
    size: str  # big or small
    hair: bool  # True: hair belongs to the face

    @property
    def name(self) -> str:
        """The row's name in the paper, for example "big, no hair"."""
        return f"{self.size}, {'hair' if self.hair else 'no hair'}"

    def run_id(self, loss: str) -> str:
        """Name of the run of this cell with `loss` (iou or bce), for example "bfcn32s-lfw-big-nohair-iou"."""
        return f"{self.model}-{self.dataset}-{self.size}-{'hair' if self.hair else 'nohair'}-{loss}"


# The 16 rows of Tables 3, 4, 5 and 6, in this order.
CELLS = tuple(
    Cell(model, dataset, size, hair)
    for model in PAPER["model"]
    for dataset in PAPER["dataset"]
    for hair in (True, False)
    for size in ("big", "small")
)


@dataclass(frozen=True)
class Config:
    """All parameters of one run; the defaults are those of the demo. `resolve` makes it and checks it.

    The parameters cell of `notebooks/train.ipynb` has the same defaults and explains them; profile `paper` is Table 2.
    """

    model: str = "bfcn32s"
    dataset: str = "lfw"
    size: str = "big"
    hair: bool = False
    loss: str = "iou"
    part: str = ""
    split: str = "fixed"
    data: str = "synthetic"
    synthetic_images: int = 400
    synthetic_share: float = 0.0
    image_size: int = 128
    encoder_width: float = 0.25
    fc_units: int = 24
    encoder_weights: str = "demo"
    score_start: str = "zeros"
    dropout: float = 0.0
    trainable_blocks: int = 0
    batch_norm: str = "trained"
    epochs: int = 60
    batch_size: int = 10
    patience: int = 5
    learning_rate: float = 0.002
    rmsprop_epsilon: float = 1.0e-14
    loss_reduction: str = "own"
    monitor: str = "val_iou"
    restore_best: bool = True
    cache_features: bool = True
    threads: int = 1
    seed: int = 0
    tag: str = ""

    @property
    def run_id(self) -> str:
        """`{model}-{dataset}-{size}-{hair|nohair}-{loss}`, then `-{tag}` if there is one."""
        name = Cell(self.model, self.dataset, self.size, self.hair).run_id(self.loss)
        return f"{name}-{self.tag}" if self.tag else name

    def dataset_arguments(self) -> dict:
        """Keyword arguments of `datasets.digest`; with `image_size` also those of `datasets.load`."""
        return {
            "name": self.dataset,
            "root": self.data,
            "synthetic_images": self.synthetic_images,
            "synthetic_share": self.synthetic_share,
        }

    def split_arguments(self) -> dict:
        """Keyword arguments of `datasets.Dataset.split`."""
        return {"size": self.size, "seed": self.seed if self.split == "random" else None}


def resolve(*mappings: dict) -> Config:
    """A checked configuration: the defaults, overridden by each mapping in turn.

    Raises:
        InputError: an unknown parameter, a wrong type or a value out of range.
    """
    merged = {name: value for mapping in mappings for name, value in mapping.items()}
    known = {field.name: field.type for field in fields(Config)}
    for name, value in merged.items():
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            raise InputError(
                f"unknown parameter {name!r}: "
                + (f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(known)}")
            )
        merged[name] = _typed(name, value, known[name])
    config = replace(Config(), **merged)
    _check(config)
    return config


# What runs had before these were parameters. With these values they do not count in a run's key.
STARTED = {
    "part": "", "split": "fixed", "synthetic_share": 0.0, "batch_norm": "trained", "loss_reduction": "own",
    "score_start": "glorot", "dropout": 0.0, "restore_best": True,
}  # fmt: skip


def recorded(params: dict) -> Config:
    """The configuration of a record. Before `score_start` was a parameter, score layers started as "glorot".

    Raises:
        InputError: as `resolve`.
    """
    return resolve(STARTED, params)


def _typed(name, value, kind):
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return float(value)
    if type(value) is not kind:
        hint = "; in YAML, write 1.0e-4 with a decimal point" if kind is float and isinstance(value, str) else ""
        raise InputError(
            f"parameter {name}: {shown(value)} is of type {type(value).__name__}, not {kind.__name__}: correct it{hint}"
        )
    return value


def is_word(name: str, value: object) -> bool:
    """Whether a value can be that of this parameter, which is a text. Of an encoder's name only the form is checked.

    Records can have parameters that are not known here: words and paths.
    """
    if not isinstance(value, str):
        return False
    if name in CHOICES:
        return value in CHOICES[name]
    if name == "model":
        return value in KNOWN or bool(re.fullmatch("[A-Z][A-Za-z0-9]{1,50}", value))
    if name == "tag":
        return bool(re.fullmatch("[a-z0-9._=-]{0,150}", value))
    return _is_path(value)


def _is_path(text):
    """Whether a text can be a path: no control characters, no name that is too long, no home of an unknown user."""
    try:
        Path(text).expanduser()
    except RuntimeError:
        return False
    return (
        not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", text)
        and len(text) <= 1000
        and all(len(part.encode()) <= 255 for part in text.split("/"))
    )


def _check(config):
    def refuse(name, rule):
        raise InputError(f"parameter {name}: {shown(getattr(config, name))} is not valid, it must be {rule}")

    for name, allowed in CHOICES.items():
        if not is_word(name, getattr(config, name)):
            refuse(name, "one of " + ", ".join(value or "''" for value in allowed))
    if not (is_word("model", config.model) and (config.model in KNOWN or _is_application(config.model))):
        refuse("model", f"one of {', '.join(KNOWN)}, or an encoder of keras.applications such as MobileNetV2")
    if config.part and config.hair:
        refuse("hair", "false where part is set, which is then the only positive class")
    if config.part not in ("", "hair") and config.dataset != "helen":
        refuse("part", "empty or hair on lfw, which has no labels of other parts; set dataset to helen")
    if not 32 <= config.image_size <= 8192 or config.image_size % 32:
        refuse("image_size", "a multiple of 32 (the networks' stride), 32 or more and at most 8192")
    for name in ("fc_units", "epochs", "batch_size", "patience"):
        if not 1 <= getattr(config, name) <= 1_000_000:
            refuse(name, "1 or more and at most 1000000")
    if not 0 <= config.synthetic_share <= 0.5:
        refuse("synthetic_share", "from 0 (faces as large as in LFW) to 0.5")
    if config.synthetic_share and config.data != "synthetic":
        refuse("synthetic_share", "0 with data from a folder, which is not drawn; set data to synthetic")
    if not 10 <= config.synthetic_images <= 100_000:
        refuse("synthetic_images", "10 or more and at most 100000")
    for name in ("learning_rate", "rmsprop_epsilon"):
        if not 0 < getattr(config, name) < LARGEST:
            refuse(name, f"a number above 0 and below {LARGEST:g}")
    if not 0 < config.encoder_width <= 4:
        refuse("encoder_width", "above 0 and at most 4")
    if not 0 <= config.trainable_blocks <= 5:
        refuse("trainable_blocks", "from 0 (only the head) to 5 (the whole encoder)")
    if not 0 <= config.dropout < 1:
        refuse("dropout", "from 0 (none) to below 1")
    if not 1 <= config.threads <= 1024:
        refuse("threads", "from 1 to 1024")
    if not 0 <= config.seed < 2**32:
        refuse("seed", "from 0 to 4294967295")
    if not is_word("tag", config.tag):
        refuse("tag", "made of a-z, 0-9 and . _ = - only, at most 150 characters, because a folder is named by it")
    for name in ("data", "encoder_weights"):
        if not is_word(name, getattr(config, name)):
            refuse(name, "a word or path of at most 1000 characters, without control characters")
    if not config.encoder_weights:
        refuse("encoder_weights", "imagenet, photographs, demo, none or the path of a weights file")
    if config.encoder_weights in ("imagenet", "photographs") and config.encoder_width != 1:
        refuse(
            "encoder_width",
            f"1.0 with {config.encoder_weights} weights; else set encoder_weights to demo, none or a path",
        )
    if config.encoder_weights == "demo" and config.model not in KNOWN:
        refuse("encoder_weights", f"imagenet, none or a path: {config.model} has no demo weights")
    if config.encoder_weights == "demo" and config.encoder_width != 0.25:
        refuse("encoder_width", "0.25 with the demo weights, which were trained at that width")


def _is_application(name):
    """Whether `keras.applications` makes an encoder of this name."""
    from lib.checks.backend import keras

    return hasattr(keras.applications, name)
