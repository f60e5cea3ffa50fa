"""Records, tables and arrays that runs wrote, study folders and addresses for fuzz.py, and their readers."""

import copy
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
from fuzz import FEW, Reader, damage, damaged
from hypothesis import strategies as st

from lib import outputs
from lib.analysis import pairs, predictions, sentences, tables
from lib.config import Config, resolve
from lib.data import fetch
from lib.record import METRICS, SCORES
from lib.study import rerun

RUN_ID = Config().run_id
SIDE, IDS = 32, ["Ann", "Bo"]
RECORD = {
    "format": 1,
    "run_id": RUN_ID,
    "params": {
        "model": "bfcn32s",
        "dataset": "lfw",
        "size": "big",
        "hair": False,
        "loss": "iou",
        "data": "synthetic",
        "image_size": SIDE,
        "tag": "",
        "synthetic_images": 10,
    },
    "scores": dict.fromkeys(SCORES, 0.5),
    "epochs_run": 3,
    "best_epoch": 2,
    "seconds": {"total": 1.5},
    "versions": {"keras": "3"},
    "seed": 0,
    "key": "0" * 64,
    "key_parts": {"code": "0" * 64},
    "data": {
        "source": "made-up faces",
        "note": None,
        "counts": {"train": 6, "validation": 2, "test": 2},
        "scaled": True,
        "digest": "ab",
    },
}
HISTORY = b"epoch,loss,val_iou\n1,0.5,0.2\n2,,0.3\n"
PER_IMAGE = b"id,accuracy,iou,iou_soft,tp,fp,fn,tn\nAnn,0.5,0.5,0.5,1,1,1,1\nBo,1,1,1,2,0,0,2\n"
JUNK = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=4), st.integers(), max_size=2)
    | st.sampled_from([10**400, -1, float("nan"), float("inf"), "x" * 3000, "../..", "\x1b[2J", "line\nline", [[[[]]]]])
)


def npz(**arrays) -> bytes:
    """Arrays as a .npz file; objects are pickled, which readers must refuse."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


MAPS = np.zeros((2, SIDE, SIDE), np.uint8)


class Trap:
    """A pickled one makes a file beside the case's folder when it is loaded."""

    def __reduce__(self):
        return os.mkdir, ("../escape",)


def bomb(claimed: int, shape: tuple, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A .npz whose array claims a shape and whose list of contents claims a size."""
    file, header = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in ("probabilities", "ids", "images", "labels", "digest"):
            archive.writestr(f"{name}.npy", header.getvalue() + bytes(10**6))
            archive.getinfo(f"{name}.npy").file_size = claimed
    return file.getvalue()


BOMBS = [
    bomb(10**6, (10**6, 1, 1)),
    bomb(2**32 - 2, (10**12,)),
    bomb(10**6, (2**62, 2)),
    bomb(10**6, (-1, 2)),
    bomb(10**6, (10**6,), zipfile.ZIP_LZMA),
    bomb(100, (10**9,)),
    bomb(10**9, (10**9,)),
]
PROBABILITIES = [
    npz(probabilities=MAPS, ids=IDS),
    npz(probabilities=MAPS.astype(float), ids=IDS),
    npz(probabilities=MAPS),
    npz(probabilities=MAPS[0], ids=IDS),
    npz(probabilities=MAPS, ids=[1, 2]),
    npz(probabilities=MAPS, ids="Ann"),
    npz(probabilities=np.array([Trap()]), ids=IDS),
    npz(probabilities=MAPS, ids=np.array([Trap(), Trap()])),
    npz(probabilities=np.array(5), ids=np.zeros((2, 2))),
    *BOMBS,
]
PUBLISHED = [
    npz(images=np.stack([MAPS] * 3, -1), labels=MAPS, ids=IDS, digest="ab"),
    npz(images=np.stack([MAPS] * 3, -1), labels=MAPS, ids=IDS, digest=["ab", "ab"]),
    npz(images=np.stack([MAPS] * 3, -1), labels=MAPS.astype(float), ids=IDS, digest="ab"),
    npz(images=MAPS, labels=MAPS, ids=IDS, digest="ab"),
    npz(images=1, labels=2, ids=3, digest=4),
    npz(images=np.array([Trap()]), labels=MAPS, ids=IDS, digest=np.array(Trap())),
    *BOMBS,
]


def write_run(study: Path, record=None, **files: bytes) -> Path:
    """A run's folder; `files` replace its other files."""
    folder = study / RUN_ID
    folder.mkdir(parents=True)
    content = json.dumps(RECORD).encode() if record is None else record
    for name, given in {
        "history.csv": HISTORY,
        "per_image.csv": PER_IMAGE,
        "probabilities.npz": PROBABILITIES[0],
        "record.json": content,
        **files,
    }.items():
        (folder / name).write_bytes(given)
    return folder


def use(study: outputs.Study) -> None:
    """What notebooks and the report do with a study."""
    for run in study.values():
        json.dumps([run.tag, run.loss, str(run.notebook), *map(run.score, METRICS)])
        predictions.comparable(study, run)
        _ = run.history, run.per_image
        assert all(isinstance(line, str) for line in rerun.differences(run, resolve()))
    sentences.provenance(study)
    tables.runs_table(study)
    tables.paper_table(study, "bfcn32s", "lfw")
    tables.bounds_table(study)
    pairs.data_note(list(study.values()))


def changed_record(changes) -> bytes:
    """The record with values replaced at paths such as data.note; a value of ... removes the key."""
    record = copy.deepcopy(RECORD)
    for path, value in changes:
        *parents, last = path
        place = record
        for parent in parents:
            place = place.get(parent, {}) if isinstance(place, dict) else {}
        if isinstance(place, dict):
            place.pop(last, None) if value is ... else place.update({last: value})
    try:
        return json.dumps(record).encode()
    except ValueError:
        return b"{}"


PATHS = st.sampled_from(
    [(key,) for key in RECORD]
    + [(key, name) for key, value in RECORD.items() if isinstance(value, dict) for name in value]
)
RECORDS = st.lists(st.tuples(PATHS, JUNK | st.just(...)), max_size=3).map(changed_record) | damaged(
    json.dumps(RECORD).encode(), b"[" * 100_000, b'{"a":' * 100_000, b"1" * 9000, b"NaN", b"\xff\xfe", b"null"
)


def read_record(case, folder: Path) -> None:
    write_run(folder, case)
    use(outputs.read_study(folder))


def read_table(name: str):
    def read(case, folder: Path) -> None:
        write_run(folder, **{name: case})
        use(outputs.read_study(folder))

    return read


CELL = st.sampled_from(
    [
        "1",
        "0.5",
        "",
        "nan",
        "inf",
        "-1",
        "1e400",
        str(2**63),
        "9" * 5000,
        "x" * 400,
        '"',
        "'",
        "=1+1",
        "\0",
        "\u2028",
        "Ann",
        "Bo",
    ]
) | st.text(max_size=6)


def csv_of(header: bytes):
    """A strategy: rows of odd values under a header."""
    return st.lists(st.lists(CELL, min_size=1, max_size=9), max_size=4).map(
        lambda rows: header + "\n".join(map(",".join, rows)).encode("utf-8", "replace")
    )


def read_probabilities(case, folder: Path) -> None:
    write_run(folder, **{"probabilities.npz": case})
    run = outputs.read_study(folder)[RUN_ID]
    predictions.evaluate(run, MAPS).curves


def read_published(case, folder: Path) -> None:
    write_run(folder)
    (folder / "pictures").mkdir()
    (folder / "pictures/lfw.npz").write_bytes(case)
    images, masks = predictions.test_pictures(outputs.read_study(folder)[RUN_ID])
    assert images.shape == (*masks.shape, 3) and masks.max() <= 1


ENTRIES = st.dictionaries(
    st.sampled_from(
        [
            "record.json",
            "history.csv",
            "per_image.csv",
            "probabilities.npz",
            "../.failed/x/error.txt",
            "../.failed",
            "../.running",
            "../tables",
            "../pictures",
            "../pictures/lfw.npz",
            f"../{RUN_ID}",
            "../other/record.json",
        ]
    ),
    st.sampled_from(["file", "folder", "fifo", "link out", "loop", "missing", "broken link"]),
    max_size=4,
)


def read_folder(case, folder: Path) -> None:
    """Files where folders should be, folders and pipes where files should be, links that leave the study."""
    run = write_run(folder)
    (folder / "pictures").mkdir()
    (folder / "pictures/lfw.npz").write_bytes(PUBLISHED[0])
    for name, kind in case.items():
        path = Path(os.path.normpath(run / name))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir() and not path.is_symlink():
                path.rename(folder / f"moved-{len(os.listdir(folder))}")
            elif os.path.lexists(path):
                path.unlink()
            {
                "file": lambda: path.write_bytes(b"\xff"),
                "folder": path.mkdir,
                "fifo": lambda: os.mkfifo(path),
                "link out": lambda: path.symlink_to(folder.parent / "secret"),
                "loop": lambda: path.symlink_to(path),
                "missing": lambda: None,
                "broken link": lambda: path.symlink_to(folder / "nowhere"),
            }[kind]()
        except OSError:  # the file system refuses this entry
            continue
    outputs.state(folder)
    study = outputs.read_study(folder)
    use(study)
    for run in study.values():
        run.probabilities()
        predictions.test_pictures(run)


ADDRESSES = st.lists(
    st.sampled_from(
        [
            "http://127.0.0.1:9/",
            "http://[::1/",
            "http://\x00/",
            "file:///etc/passwd",
            "file:///etc/",
            "ftp://127.0.0.1:9/",
            "/",
            "http:///",
            "https://127.0.0.1:9/lfw-funneled.tgz",
            "javascript:alert(1)/",
            "http://127.0.0.1:99999/",
            "x" * 3000 + "/",
            "http://127.0.0.1:9/\n/",
        ]
    )
    | st.text(max_size=12).map("http://127.0.0.1:9/{}/".format),
    min_size=1,
    max_size=3,
)


def read_addresses(case, folder: Path) -> None:
    addresses, places = case
    for name, kind in places.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            {"file": lambda: path.write_bytes(b"\xff\0"), "folder": path.mkdir}[kind]()
        except OSError:  # another entry stands there
            continue
    fetch.fetch("lfw", folder, addresses)
    fetch.fetch("helen", folder, addresses)


PLACES = st.dictionaries(
    st.sampled_from(
        [
            "lfw/lfw-funneled.tgz",
            "lfw/lfw-funneled.tgz.part",
            "helen/x",
            "lfw",
            "SmithCVPR2013_dataset_resized.zip",
            "SmithCVPR2013_dataset_resized.zip.sha256",
        ]
    ),
    st.sampled_from(["file", "folder"]),
    max_size=2,
)
NAMES = (RUN_ID, "study", "case")
READERS = [
    Reader("records", RECORDS, read_record, NAMES, 3),
    Reader("history.csv", damaged(HISTORY) | csv_of(b"epoch,loss,val_iou\n"), read_table("history.csv"), NAMES),
    Reader(
        "per_image.csv",
        damaged(PER_IMAGE) | csv_of(PER_IMAGE[:37]) | st.tuples(FEW).map(lambda case: damage(PER_IMAGE, case[0])),
        read_table("per_image.csv"),
        NAMES,
    ),
    Reader("probabilities.npz", damaged(*PROBABILITIES), read_probabilities, NAMES, 2),
    Reader("published pictures", damaged(*PUBLISHED), read_published, (*NAMES, "lfw.npz"), 2),
    Reader("study folders", ENTRIES, read_folder, NAMES, 2),
    Reader(
        "addresses of downloads",
        st.tuples(ADDRESSES, PLACES),
        read_addresses,
        ("address", "download", "folder", "lfw"),
        0.3,
    ),
]
