"""Parameters of every type, parameter files and injected cells for fuzz.py, and their readers."""

import json
from dataclasses import asdict, fields
from pathlib import Path

import yaml
from fuzz import Reader, damaged
from hypothesis import strategies as st
from papermill.translators import PythonTranslator

from lib import config, params, provenance
from lib.data import cache

HUGE = st.sampled_from([32, 63, 64, 1000, 20000]).map(lambda bits: 1 << bits) | st.sampled_from(
    [1e308, 5e-324, -(2**64)]
)
STRANGE_TEXT = st.sampled_from(
    [
        "'; raise SystemExit #",
        '"""',
        "\\",
        "a\nimport os\nos.mkdir('../escape')",
        "${HOME}",
        "$(touch ../escape)",
        "{0}",
        "%s",
        "\0",
        "~root",
        "~nobody-x/data",
        "x" * 5000,
        "\u202e",
        "\r\n",
        "__import__('os')",
        "../../..",
        "/dev/zero",
        "/dev/stdin",
        "-rf",
        "\ud800",
        "nan",
        "1e-4",
        "yes",
        "demo",
        "imagenet",
        "none",
        "synthetic",
        "MobileNetV2",
    ]
) | st.text(max_size=20)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | HUGE | STRANGE_TEXT | st.binary(max_size=9) | st.dates()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = [field.name for field in fields(config.Config)]
DEFAULTS = asdict(config.Config())


def near(name: str):
    """Values like a parameter's default, in range or not."""
    return {
        bool: st.booleans(),
        int: st.integers(-2, 300),
        float: st.floats(-1, 5),
        str: st.sampled_from([value for allowed in config.CHOICES.values() for value in allowed] + ["none", "demo"]),
    }[type(DEFAULTS[name])]


def some(values, most: int):
    """A strategy: a few parameters, each with a value of `values(name)`."""
    return st.lists(
        st.sampled_from(NAMES).flatmap(lambda name: st.tuples(st.just(name), values(name))), max_size=most
    ).map(dict)


PARAMETERS = st.builds(dict.__or__, some(near, 3), some(lambda name: VALUES, 1))


def read_parameters(case, folder: Path) -> None:
    chosen = config.resolve(case)
    assert len(chosen.run_id) < 250 and "/" not in chosen.run_id
    json.dumps(asdict(chosen))
    cache.data_root(chosen.data)
    provenance.key_parts(chosen)


YAML = [
    b"epochs: 3\nlearning_rate: 1.0e-4\nhair: false\n",
    b"a: &a [1, 2]\nb: *a\n",
    b"<<: {epochs: 3}\n",
    b"epochs: 0x" + b"f" * 9000,
    b"epochs: " + b"1" * 9000,
    b"data: " + b"[" * 5000,
    b"seed: 2001-99-99",
    b"seed: !!python/object/apply:os.mkdir [../escape]",
    b"seed: !!python/name:os.system",
    b"seed: !!float x",
    b"seed: !!int ''",
    b"seed: !!timestamp x",
    b"seed: !!binary x",
    b"seed: !!set {a}",
    b"? [a]\n: 1\n",
    b"1: 2",
    b"seed: .nan",
    b"seed: 1:30:00",
    b"\xff\xfee\0",
    b"---\n---\n",
    b"null: null",
    b"%YAML 9.9\n---\na: 1",
    b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (98 + i, 98 + i, 97 + i, 97 + i) for i in range(24)),
    b"seed: &s [*s]",
    b"seed: 1\nseed: 2",
    b"grid: {seed: [1, 2]}",
    b"x" * 200_000,
]


def as_yaml(name: str, value) -> bytes:
    try:
        return yaml.safe_dump({name: value}, allow_unicode=True).encode("utf-8", "replace")
    except ValueError:  # a whole number of more digits than Python writes
        return f"{name}: 0x{'f' * 5000}".encode()


def read_parameter_file(case, folder: Path) -> None:
    path = folder / "mine.yaml"
    path.write_bytes(case)
    config.resolve(params.read_yaml(path))


def read_injected(case, folder: Path) -> None:
    """The cell that papermill makes of parameters holds them as data: executed, it gives them back and does nothing."""
    cell = parameterize_notebook_code(case)
    names = {}
    exec(compile(cell, "cell", "exec"), names)
    for name, value in case.items():
        assert names[name] == value or repr(names[name]) == repr(value), (
            name,
            value,
            names[name],
        )  # NaN, also in lists
    params.from_notebook({**DEFAULTS, **names, "In": ["", cell]})


def parameterize_notebook_code(parameters: dict) -> str:
    """The source of papermill's injected cell."""
    return PythonTranslator.codify(parameters)


PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | STRANGE_TEXT.filter(lambda text: text.isprintable() or text.isascii())
)
INJECTED = st.dictionaries(
    st.sampled_from([*NAMES, "epohcs", "out_dir", "zzz"]),
    st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3), max_leaves=4),
    max_size=5,
)
CELLS = st.sampled_from(
    [
        "# Parameters\n%matplotlib inline",
        "# Parameters\nepochs = (",
        "# Parameters\na = b = 3\n",
        "# Parameters\n",
        "# Parameters\n\0",
        "# Parameters\nepochs: int = 3",
    ]
) | st.text(max_size=30).map("# Parameters\n{}".format)


def read_cell(case, folder: Path) -> None:
    params.from_notebook({**DEFAULTS, "In": [case]})


READERS = [
    Reader("parameters", PARAMETERS, read_parameters, ("parameter",), 3),
    Reader(
        "parameter files (YAML)",
        damaged(*YAML) | st.builds(as_yaml, st.sampled_from(NAMES), VALUES),
        read_parameter_file,
        ("mine.yaml", "parameter"),
        2,
    ),
    Reader("injected parameters", INJECTED, read_injected, ("parameter",)),
    Reader("cells like injected ones", CELLS, read_cell, ("parameter",), 0.3),
]
