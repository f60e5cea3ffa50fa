"""The configuration of a run: its parameters, where they are checked, and the key a run is filed under."""

import ast
import difflib
import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import yaml

from lib import InputError, data

PROJECT = Path(__file__).resolve().parent.parent
NOTEBOOK = PROJECT / "notebooks" / "train.ipynb"
CHOICES = {"model": ("bfcn32s", "fcresnet"), "dataset": ("lfw", "helen"), "size": ("big", "small"),
           "loss": ("iou", "bce"), "monitor": ("val_iou", "val_iou_soft", "val_accuracy", "val_loss")}
# Code that decides a run's numbers; plots, tables and the batch do not.
CODE = ("archives", "config", "data", "layouts", "losses", "metrics", "models", "training")


@dataclass(frozen=True)
class Config:
    """Every parameter of one run; the defaults are the demo's. Made by `resolve`, which checks.

    Defaults and meanings stand in the parameters cell of `notebooks/train.ipynb` too; profile `paper` is Table 2.
    """

    model: str = "bfcn32s"
    dataset: str = "lfw"
    size: str = "big"
    hair: bool = False
    loss: str = "iou"
    data: str = "synthetic"
    synthetic_images: int = 200
    image_size: int = 128
    encoder_width: float = 0.25
    fc_units: int = 64
    encoder_weights: str = "demo"
    trainable_blocks: int = 1
    epochs: int = 8
    batch_size: int = 10
    patience: int = 4
    learning_rate: float = 0.0005
    rmsprop_epsilon: float = 1.0e-14
    monitor: str = "val_iou"
    cache_features: bool = True
    seed: int = 0

    @property
    def run_id(self) -> str:
        """`{model}-{dataset}-{size}-{hair|nohair}-{loss}`."""
        return "-".join((self.model, self.dataset, self.size, "hair" if self.hair else "nohair", self.loss))

    def dataset_arguments(self) -> dict:
        """Keyword arguments of `data.digest`; with `image_size` also those of `data.load`."""
        return {"name": self.dataset, "root": self.data, "synthetic_images": self.synthetic_images}


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
            raise InputError(f"unknown parameter {name!r}: " + (
                f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(known)}"))
        merged[name] = _typed(name, value, known[name])
    config = replace(Config(), **merged)
    _check(config)
    return config


def _typed(name, value, kind):
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        hint = "; in YAML, write 1.0e-4 with a point" if kind is float and isinstance(value, str) else ""
        raise InputError(f"parameter {name}: {value!r} is of type {type(value).__name__}, "
                         f"not {kind.__name__}: correct it{hint}")
    return value


def _check(config):
    def refuse(name, rule):
        raise InputError(f"parameter {name}: {getattr(config, name)!r} will not do, it must be {rule}")
    for name, allowed in CHOICES.items():
        if getattr(config, name) not in allowed:
            refuse(name, "one of " + ", ".join(allowed))
    if config.image_size < 32 or config.image_size % 32:
        refuse("image_size", "a multiple of 32 (the nets' stride), 32 or more")
    for name in ("fc_units", "epochs", "batch_size", "patience"):
        if getattr(config, name) < 1:
            refuse(name, "1 or more")
    if config.synthetic_images < 10:
        refuse("synthetic_images", "10 or more")
    for name in ("learning_rate", "rmsprop_epsilon"):
        if not 0 < getattr(config, name) < math.inf:
            refuse(name, "a number above 0")
    if not 0 < config.encoder_width <= 4:
        refuse("encoder_width", "above 0 and at most 4")
    if not 0 <= config.trainable_blocks <= 5:
        refuse("trainable_blocks", "from 0 (the head alone) to 5 (the whole encoder)")
    if not 0 <= config.seed < 2**32:
        refuse("seed", "from 0 to 4294967295")
    if not config.encoder_weights:
        refuse("encoder_weights", "imagenet, demo, none or the path of a weights file")
    if config.encoder_weights == "imagenet" and config.encoder_width != 1:
        refuse("encoder_width", "1.0 with imagenet weights; else set encoder_weights to demo, none or a path")
    if config.encoder_weights == "demo" and config.encoder_width != 0.25:
        refuse("encoder_width", "0.25 with the demo weights, which were trained at that width")


def read_yaml(path: Path) -> dict:
    """Parameters of a YAML file (safe loader), as a mapping. Raises InputError for anything else in it."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such parameter file; params/ lists them") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())}); "
                         "correct the file") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no parameters; write one `name: value` on each line")
    return content


def from_notebook(namespace: dict) -> Config:
    """The configuration that a notebook's parameters cells have set, unknown injected names refused.

    Args:
        namespace: the notebook's `globals()`. Papermill heads the cell that it injects with `# Parameters`; names
            assigned in such a cell must be parameters of the notebook.
    """
    own = {field.name for field in fields(Config)} | {"out_dir"}
    injected = {}
    for cell in namespace.get("In", ()):
        if cell.startswith("# Parameters\n"):
            names = [target.id for node in ast.parse(cell).body if isinstance(node, ast.Assign)
                     for target in node.targets if isinstance(target, ast.Name)]
            injected |= {name: namespace.get(name) for name in names if name not in own}
    return resolve(injected, {name: namespace[name] for name in own - {"out_dir"} if name in namespace})


def key(config: Config) -> tuple[str, dict[str, str]]:
    """The key that a run is filed under: a digest of its parameters, notebook, code and data.

    Returns:
        (key, parts): hexadecimal; `parts` has the digest of each of the four, so that one can say what changed.
    Raises:
        InputError: the data are missing (see `data.digest`).
    """
    parts = key_parts(config) | {"data": data.digest(**config.dataset_arguments())}
    return _digest(json.dumps(parts, sort_keys=True).encode()), parts


def key_parts(config: Config) -> dict[str, str]:
    """Digests of the parameters, the notebook and the code: the parts of the key that need no data.

    The content of data and of weights files counts, not where they lie.
    """
    params = {name: value for name, value in asdict(config).items() if name != "data"}
    code = b"".join((PROJECT / "lib" / f"{module}.py").read_bytes() for module in CODE)
    if config.encoder_weights == "demo":
        code += b"".join(path.read_bytes() for path in sorted((PROJECT / "lib" / "weights").glob("*.h5")))
    elif (weights := PROJECT / Path(config.encoder_weights).expanduser()).is_file():
        params["encoder_weights"] = _digest(weights.read_bytes())
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return {"parameters": _digest(json.dumps(params, sort_keys=True).encode()),
            "notebook": _digest(json.dumps([c["source"] for c in cells if c["cell_type"] == "code"]).encode()),
            "code": _digest(code)}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
