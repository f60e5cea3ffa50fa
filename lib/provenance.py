"""What determines a run's numbers: its key, the versions of the libraries, the processor.

The key covers only the code that determines a run's numbers: the definitions in the modules `DECIDING` that training
and scoring of this configuration use, without comments, docstrings, type hints and error messages. So a run keeps its
key when a loss is added that it does not use.
"""

import ast
import copy
import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from lib import PROJECT, InputError
from lib.checks import surroundings
from lib.config import BEYOND, NOTEBOOK, PAPER, STARTED, Config
from lib.data import datasets

# Modules of lib.
DECIDING = (
    "training",
    "losses",
    "models",
    "metrics",
    "beyond.surrogates",
    "beyond.networks",
    "beyond.scores",
    "data.datasets",
    "data.layouts",
)
ROOTS = {"training": ("load_task", "build", "fit", "evaluate"), "data.datasets": ("Dataset",)}  # entry points
TABLES = ("LOSSES", "SURROGATES", "NETWORKS", "DATASETS")  # by name: only the row of the run counts
VERSIONED = ("load", "digest")  # they read the data; their version, datasets.FORMAT, is in the digest of the data
# Functions whose arguments are text for people.
MESSAGES = re.compile(r"(\w+\.)*((Input|Key|Runtime|Type|Value)Error|check_space|print|warn|diverged)")
# Fields of Python's syntax nodes.
HINTS = ("annotation", "returns", "type_params", "type_comment", "kind", "ctx", "cause", "msg")


def key(config: Config) -> tuple[str, dict[str, str]]:
    """The key of a run: a digest of its parameters, notebook, code and data.

    Returns:
        (key, digests): hexadecimal; the digest of each of the four tells what has changed.
    Raises:
        InputError: the data are missing (see `datasets.digest`).
    """
    parts = key_parts(config) | {"data": datasets.digest(**config.dataset_arguments())}
    return _digest(json.dumps(parts, sort_keys=True)), parts


def key_parts(config: Config) -> dict[str, str]:
    """Digests of the parameters, the notebook and the code, which need no data.

    The content of data and of weights files counts, not their paths; that of "photographs" is fixed by its name. The
    notebook's parameters cell does not count, nor do parameters with the value that runs had before they existed, so
    that a new parameter leaves all keys.
    """
    params = {name: value for name, value in asdict(config).items() if name != "data" and STARTED.get(name) != value}
    if config.encoder_weights not in ("imagenet", "photographs", "none"):
        weights = PROJECT / Path(config.encoder_weights).expanduser()
        if config.encoder_weights == "demo":
            weights = PROJECT / "lib" / "weights" / f"{_encoder(config.model).lower()}-quarter.weights.h5"
        if weights.is_file():  # else the run itself reports it
            params["encoder_weights"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    return {
        "parameters": _digest(json.dumps(params, sort_keys=True)),
        "notebook": _digest(notebook_code(NOTEBOOK)),
        "code": _digest(code(config, PROJECT / "lib")),
    }


def _encoder(model: str) -> str:
    """The encoder of a network, read from the source of the tables, as importing them takes seconds (Keras)."""
    for module in ("models", "beyond.networks"):
        definitions = _definitions(_source(PROJECT / "lib", module))[0]
        for row in definitions["NETWORKS"]:
            for name, value in zip(row.value.keys, row.value.values):  # "bfcn32s": Network("VGG16", ...)
                if name.value == model:
                    return value.args[0].value
    return model


def _source(folder: Path, module: str) -> str:
    return (folder / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# ---- the code that counts ----------------------------------------------------------------------------------


def notebook_code(path: Path) -> str:
    """What counts of a notebook: its code cells except the parameters cell, without comments."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    counted = []
    for cell in cells:
        if cell["cell_type"] == "code" and "parameters" not in cell.get("metadata", {}).get("tags", ()):
            source = "".join(cell["source"])
            try:
                counted.append(
                    _shape(ast.parse(re.sub(r"(?m)^[%!].*$", "", source))) + str(re.findall(r"(?m)^[%!].*$", source))
                )
            except SyntaxError:  # a cell of another language
                counted.append(source)
    return "\n".join(counted)


def code(config: Config, folder: Path) -> str:
    """The definitions in the modules of `folder` that determine the numbers of a run, sorted, as text.

    A definition is a function, class or constant of a module. It counts if one of `ROOTS` uses it, directly or not.
    """
    sources = tuple(_source(folder, name) for name in DECIDING)
    loss = "jaccard" if config.loss == "iou" and config.loss_reduction == "pooled" else config.loss
    model = config.model if config.model in PAPER["model"] + BEYOND["model"] else ""
    return _code(sources, frozenset({loss, config.loss, model, config.dataset}))


@cache
def _code(sources: tuple[str, ...], chosen: frozenset[str]) -> str:
    modules = dict(zip(DECIDING, map(_definitions, sources)))
    waiting = [(module, name) for module, names in ROOTS.items() for name in names]
    waiting += [(module, "") for module in modules]  # statements that define nothing
    reached = {}
    while waiting:
        module, name = place = waiting.pop()
        definitions, imported, foreign = modules[module]
        if place in reached or name not in definitions:
            continue
        statements = [_row(node, chosen) for node in definitions[name]] if name in TABLES else definitions[name]
        reached[place] = "".join(map(_shape, statements))
        for used in (used for node in statements for used in _uses(node)):
            if used[0] in foreign:
                reached[module, f"import {used[0]}"] = foreign[used[0]]
            whole = ".".join(used) if used[0] not in imported else ".".join((imported[used[0]], *used[1:]))
            target = (module, used[0]) if used[0] not in imported else whole.rpartition(".")[::2]
            if target[0] in modules and target[1] not in VERSIONED:
                waiting.append(target)
    return "\n".join(f"{name}: {reached[module, name]}" for module, name in sorted(reached))


@cache
def _definitions(source: str) -> tuple[dict[str, list[ast.AST]], dict[str, str], dict[str, str]]:
    """A module's statements by the name that they define ("": none), its imports of lib, name -> "module.name", and its
    other imports, name -> path."""
    tree = ast.parse(source)
    definitions, imported, foreign = {"": []}, {}, {}
    for node in ast.walk(tree):  # also those inside functions
        for alias in node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else ():
            path = f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
            if path.startswith("lib."):  # from lib import losses; from lib.losses import rows
                imported[alias.asname or alias.name] = path.removeprefix("lib.")
            else:
                foreign[alias.asname or alias.name.partition(".")[0]] = path
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            definitions.setdefault(node.name, []).append(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
            only_names = all(isinstance(target, (ast.Name, ast.Tuple)) for target in targets)
            for name in names if only_names else [""]:  # else a change of something else: LOSSES["iou"] = ...
                definitions.setdefault(name, []).append(node)
        elif not isinstance(node, (ast.Import, ast.ImportFrom)) and not _is_main(node):
            definitions[""].append(node)
    return definitions, imported, foreign


def _is_main(node):
    return isinstance(node, ast.If) and re.search("__main__|TYPE_CHECKING", ast.unparse(node.test))


def _row(table, chosen):
    """The definition of a table, NAME = {name: ...}, with only the rows of these names."""
    table = copy.deepcopy(table)
    node = table.value
    if isinstance(node, ast.Dict):
        rows = [
            (key, value)
            for key, value in zip(node.keys, node.values)
            if not isinstance(key, ast.Constant) or key.value in chosen
        ]
        node.keys, node.values = [key for key, _ in rows], [value for _, value in rows]
    return table


def _counted(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """The fields of a syntax node that can change numbers: no docstrings, type hints or text for people."""
    is_message = isinstance(node, ast.Call) and MESSAGES.fullmatch(ast.unparse(node.func))
    for name in () if _is_for_people(node) else ("func",) if is_message else node._fields:
        if name not in HINTS and (value := getattr(node, name, None)) not in (None, []):
            yield name, value


def _is_for_people(node):
    """Whether a statement is a text, prints one, or does nothing."""
    value = getattr(node, "value", None)
    is_print = isinstance(value, ast.Call) and ast.unparse(value.func) in ("print", "warnings.warn")
    is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
    return isinstance(node, ast.Pass) or isinstance(node, ast.Expr) and (is_text or is_print)


def _uses(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """Names that a statement uses: ("rows",), or ("losses", "rows") for losses.rows."""
    if isinstance(node, ast.Name):
        yield (node.id,)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield node.value.id, node.attr
    for _, value in _counted(node):
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST):
                yield from _uses(each)


def _shape(part: Any) -> str:
    """A statement as text that is the same in all versions of Python, see `_counted`."""
    if isinstance(part, list):
        return f"[{', '.join(filter(None, map(_shape, part)))}]"
    if not isinstance(part, ast.AST):
        return repr(part)
    if _is_for_people(part):
        return ""
    if isinstance(part, ast.AnnAssign):  # with its hint left out
        return f"Assign(targets=[{_shape(part.target)}], value={_shape(part.value)})"
    return f"{type(part).__name__}({', '.join(f'{name}={_shape(value)}' for name, value in _counted(part))})"


# ---- the machine -------------------------------------------------------------------------------------------


def limit_threads(threads: int) -> None:
    """Starts Keras' backend, which must not be imported yet, so that it computes on so many processor threads.

    Their number decides the order of sums, and so the last digits of a training.

    Raises:
        InputError: Keras is there already, with another number; or settings of the user's libraries with which no run
            can start, see `surroundings.own`.
    """
    if "keras" in sys.modules and os.environ.get("TF_NUM_INTRAOP_THREADS") != str(threads):
        raise InputError(
            f"parameter threads: {threads} cannot be set any more, as this kernel computes on "
            f"{os.environ.get('TF_NUM_INTRAOP_THREADS', 'all')} already; restart the kernel"
        )
    surroundings.own()
    os.environ |= surroundings.thread_limits(threads)
    from lib.checks import backend

    backend.start()


# Of processors; libraries choose from them.
INSTRUCTIONS = re.compile("sse4_2|fma|avx2|avx512.*|avx_vnni.*|amx_.*|asimd.*|sve.*|bf16|i8mm")


def processor() -> str:
    """The name of this machine's processor, as its maker gives it if it is available."""
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.M) if cpuinfo.is_file() else []
    return (names or [platform.processor() or platform.machine()])[0]


def instructions() -> str:
    """The vector instructions of this machine's processor; virtual machines may hide some of them. "" if not known."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = re.findall(r"^(?:flags|Features)\s*: (.+)$", cpuinfo.read_text(), re.M) if cpuinfo.is_file() else []
    return " ".join(sorted(filter(INSTRUCTIONS.fullmatch, flags[0].split()))) if flags else ""


def versions() -> dict:
    """What determines the numbers besides the key and the settings (`surroundings.held`): versions of the libraries,
    the processor with its instructions, the device ("CPU:0", "cuda:0") and threads.
    """
    from lib.checks.backend import keras

    backend = keras.backend.backend()
    found = {
        "python": platform.python_version(),
        "backend": backend,
        "machine": platform.machine(),
        "cpu": processor(),
        "instructions": instructions(),
        "threads": os.environ.get("TF_NUM_INTRAOP_THREADS", "not limited"),
        "device": str(keras.ops.convert_to_tensor(0.0).device).split("device:")[-1],
    }
    for package in dict.fromkeys(("keras", backend, "numpy", "pillow", "scipy")):
        found[package] = metadata.version(package)
    return found
