"""What each bad input is told: every row of the table in TROUBLESHOOTING.md is provoked here.

`python tests/faults/test_bad_input.py` writes the table anew.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent))

import h5py
import keras
import numpy as np
import pytest
from fuzz_data import DEEP, DOT, FACE, GREY, HELEN, HELEN_FILES, JPG, LFW_IMAGES, LFW_LABELS, encoded, png, tgz, zipped
from fuzz_parameters import DEFAULTS
from fuzz_results import PROBABILITIES, Trap, bomb, changed_record, npz, write_run

from lib import PROJECT, InputError, data, metrics, models, outputs, params, training
from lib.analysis import predictions
from lib.checks import surroundings
from lib.config import resolve
from lib.data import layouts
from lib.data.__main__ import main
from lib.losses import IoULoss
from lib.params import from_notebook, read_yaml
from lib.record import claim, read_run
from lib.study import commands
from lib.study.publish import publish_pictures
from lib.view.inspector import Inspector

PAGE, SECTION = PROJECT / "TROUBLESHOOTING.md", "## Bad input, and what it is told"
INTRODUCTION = """Bad input is refused before anything runs or is written, in one sentence: command lines print it and
exit with status 2, notebooks show it in place of a traceback. This table is made by provoking each one
(`python tests/faults/test_bad_input.py`), so the sentences are the ones you see; `<folder>` and `<project>` stand
for yours. The text in brackets is that of Python or another library; it differs between versions."""


WRITTEN_WITH = (3, 11)  # Python's version; what its own modules say, in brackets, differs in others


@dataclass(frozen=True)
class Case:
    """One bad input: `provoke(folder)`, in an empty folder, raises InputError or returns what was said."""

    area: str
    did: str
    provoke: Callable[[Path], str | None]


def command(*arguments: str, main: Callable = commands.main) -> Callable[[Path], str]:
    """What a command line prints to stderr; <folder> in its arguments is the case's folder. Its status must be 2."""

    def provoke(folder: Path) -> str:
        told = io.StringIO()
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            assert main([argument.replace("<folder>", str(folder)) for argument in arguments]) == 2
        return told.getvalue().strip()

    return provoke


def about_data(*arguments: str) -> Callable[[Path], str]:
    return command(*arguments, main=main)


def parameters(**values) -> Callable[[Path], None]:
    return lambda folder: resolve(values)


def typed(line: str) -> Callable[[Path], None]:
    return lambda folder: from_notebook({**DEFAULTS, "In": ["", f"epochs: int = 8\n{line}"]})


def yaml_file(content: bytes) -> Callable[[Path], None]:
    def provoke(folder: Path) -> None:
        (folder / "mine.yaml").write_bytes(content)
        read_yaml(folder / "mine.yaml")

    return provoke


def lfw(images: bytes | None = None, labels: bytes | None = None) -> Callable[[Path], None]:
    """Loads LFW from two archives, of which one may be replaced."""

    def provoke(folder: Path) -> None:
        for (archive, _), content in zip(
            layouts.DATASETS["lfw"].archives, (images or tgz(LFW_IMAGES), labels or tgz(LFW_LABELS))
        ):
            (folder / archive).write_bytes(content)
        data.load("lfw", 8, folder)

    return provoke


def helen(packed: bytes | None = None, **files: bytes | None) -> Callable[[Path], None]:
    """Loads HELEN from an archive in which files are replaced, or left out where None."""

    def provoke(folder: Path) -> None:
        chosen = HELEN_FILES | {f"{HELEN}/{name}": content for name, content in files.items()}
        content = packed or zipped({name: content for name, content in chosen.items() if content is not None})
        (folder / f"{HELEN}.zip").write_bytes(content)
        data.load("helen", 8, folder)

    return provoke


def unwritable_cache(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IOU_STUDY_CACHE", str(folder / "file/cache"))
        data.load("lfw", 32, "synthetic")


def linked(target: str) -> Callable[[Path], None]:
    """Loads LFW from folders, one of them a link."""

    def provoke(folder: Path) -> None:
        for name, content in {**LFW_IMAGES, **LFW_LABELS, "parts_lfw_funneled_gt_images/B_0001.ppm": b""}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        (folder / "lfw_funneled/B").symlink_to(target)
        data.load("lfw", 8, folder)

    return provoke


def weights(name: str, content: Callable[[Path], None] | None = None) -> Callable[[Path], None]:
    """Builds the quarter-width encoder with a weights file that `content` writes."""

    def provoke(folder: Path) -> None:
        if content:
            content(folder / name)
        models.encoder("bfcn32s", 32, 0.25, str(folder / name))

    return provoke


def other_width(path: Path) -> None:
    models.encoder("bfcn32s", 32, 0.125, "none").save_weights(path)


def other_order(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"block1_conv2"]
        file.create_group("block1_conv2").attrs["weight_names"] = [b"block1_conv2/kernel:0"]


def keras_json(content: str) -> Callable[[Path], None]:
    """Looks at Keras' settings as a process does that has not imported Keras."""

    def provoke(folder: Path) -> None:
        (folder / "keras.json").write_text(content)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KERAS_HOME", str(folder))
            patch.delenv("KERAS_BACKEND", raising=False)
            patch.delitem(sys.modules, "keras")
            surroundings.check()

    return provoke


def with_a_lambda(path: Path) -> None:
    keras.Sequential([keras.Input((1,)), keras.layers.Lambda(lambda x: x)]).save(path)


def record(*changes) -> Callable[[Path], None]:
    """Reads a run whose record has values replaced; ... removes one."""
    return lambda folder: read_run(write_run(folder, changed_record(changes)))


def run_file(name: str, content: bytes, read: Callable) -> Callable[[Path], None]:
    return lambda folder: read(read_run(write_run(folder, **{name: content})))


def other_folder(folder: Path) -> None:
    write_run(folder).rename(folder / "best")
    read_run(folder / "best")


def published(folder: Path) -> None:
    run = read_run(write_run(folder))
    (folder / "pictures").mkdir()
    (folder / "pictures/lfw.npz").write_bytes(npz(images=1, labels=2, ids=3, digest=4))
    predictions.test_pictures(run)


def real_people(folder: Path) -> None:
    run = read_run(write_run(folder, changed_record([(("params", "data"), "data")])))
    publish_pictures(run, folder / "new")


def inspector(first: str) -> Callable[[Path], str]:
    def provoke(folder: Path) -> str:
        if first:
            write_run(folder / "study")
        return Inspector(folder / "study", first).message

    return provoke


def publish(before: Callable[[Path], None]) -> Callable[[Path], str]:
    def provoke(folder: Path) -> str:
        write_run(folder / "study")
        before(folder)
        return command("publish", "--out", "<folder>/study", "--to", "<folder>/new")(folder)

    return provoke


def target_exists(folder: Path) -> None:
    (folder / "study/tables").mkdir()
    (folder / "new").mkdir()


def file_in_place(name: str, provoke: Callable) -> Callable[[Path], str | None]:
    """The same where a file stands at `name`."""

    def placed(folder: Path) -> str | None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("notes")
        return provoke(folder)

    return placed


SQUARE = np.ones((1, 2, 2, 1), "float32")
CLOSED = "http://127.0.0.1:9/"  # nothing listens there
WRONG_COLOUR = FACE.copy()
WRONG_COLOUR[3, 5] = (255, 254, 0)
CASES = [
    Case(area, did, provoke)
    for area, rows in {
        "Command line": {
            "`--profile tiny`": command("plan", "--profile", "tiny"),
            "`--only 'lenet-*'`": command("plan", "--only", "lenet-*"),
            "`--workers 0`": command("plan", "--workers", "0"),
            "`--seeds 0`": command("plan", "--seeds", "0"),
            "`--seeds 3 --seed 1`": command("plan", "--seeds", "3", "--seed", "1"),
            "`--seed -1`": command("plan", "--seed", "-1"),
            "`run --out` below a file": file_in_place("file", command("run", "--out", "<folder>/file/study")),
            "`report` of no study": command("report", "--out", "<folder>/none"),
            "`rerun notes.txt`": file_in_place("notes.txt", command("rerun", "<folder>/notes.txt")),
            "`rerun` of a folder without a record": command("rerun", "<folder>"),
            "`publish` before `report`": publish(lambda folder: None),
            "`publish --to` a folder that is there": publish(target_exists),
            "`info celeba`": about_data("info", "celeba"),
            "`info lfw --image-size 0`": about_data("info", "lfw", "--image-size", "0"),
            "`fetch lfw --data synthetic`": about_data("fetch", "lfw", "--data", "synthetic"),
            "`fetch lfw --url` of another file": about_data(
                "fetch", "lfw", "--data", "<folder>", "--url", CLOSED + "a.tgz"
            ),
            "`fetch helen` without a network": about_data("fetch", "helen", "--data", "<folder>", "--url", CLOSED),
            "`fetch helen` into a file": file_in_place(
                "file", about_data("fetch", "helen", "--data", "<folder>/file", "--url", CLOSED)
            ),
            "`fetch lfw` over another file of that name": file_in_place(
                "lfw/lfw-funneled.tgz", about_data("fetch", "lfw", "--data", "<folder>")
            ),
        },
        "Parameters": {
            "`epohcs: 3`": parameters(epohcs=3),
            "`learning_rate: 1e-4` in YAML, which is a text": parameters(learning_rate="1e-4"),
            "`learning_rate: .nan`": parameters(learning_rate=float("nan")),
            "`epochs: 3.0`": parameters(epochs=3.0),
            "`epochs:` a number of 20,000 bits": parameters(epochs=1 << 20000),
            "`hair: 'yes'`": parameters(hair="yes"),
            "`image_size: 100`": parameters(image_size=100),
            "`model: unets`": parameters(model="unets"),
            "`part: nose` on LFW": parameters(part="nose"),
            "`tag: ../up`": parameters(tag="../up"),
            "`data:` with a line break": parameters(data="faces\n"),
            "`synthetic_images: 1000000`": parameters(synthetic_images=10**6),
            "`encoder_width: 0.5` with the demo weights": parameters(encoder_width=0.5),
            "`-p epohcs 3` to papermill": lambda folder: from_notebook(
                {**DEFAULTS, "epohcs": 3, "In": ["# Parameters\nepohcs = 3\n"]}
            ),
            '`-p epochs "3; import os"` to papermill': lambda folder: from_notebook(
                {**DEFAULTS, "epochs": "3; import os", "In": ['# Parameters\nepochs = "3; import os"\n']}
            ),
            "`epoch: int = 3` typed into the parameters cell": typed("epoch: int = 3"),
            "`epochs: int = 3` typed there as a second line": typed("epochs: int = 3"),
            "`out_dir` below a file": file_in_place("file", lambda folder: claim(folder / "file/out")),
        },
        "Parameter files": {
            "a file that is not there": lambda folder: read_yaml(folder / "mine.yaml"),
            "an empty file": yaml_file(b""),
            "a list": yaml_file(b"- epochs\n"),
            "a bracket left open": yaml_file(b"epochs: [3\n"),
            "Latin-1 in place of UTF-8": yaml_file("tag: für\n".encode("latin-1")),
            "`!!python/object/apply:os.getcwd`": yaml_file(b"epochs: !!python/object/apply:os.getcwd []\n"),
            "an alias": yaml_file(b"epochs: &n 3\npatience: *n\n"),
            "a `grid` of single values": lambda folder: params.combinations({"loss": "iou"}, folder / "mine.yaml"),
        },
        "Data folders": {
            "a data root that is not there": about_data("info", "lfw", "--data", "<folder>/none"),
            "one archive of two": lambda folder: (
                (folder / "lfw-funneled.tgz").write_bytes(tgz(LFW_IMAGES)),
                data.load("lfw", 8, folder),
            ),
            "two images in all": lambda folder: data.split(2, "lfw", "big"),
            "a link that leads back": linked(".."),
            "a link to a disk that is not there": linked("unplugged"),
            "a cache folder below a file": unwritable_cache,
        },
        "Archives": {
            "a .tgz that was cut off": lfw(images=tgz(LFW_IMAGES)[:300]),
            "a web page saved as .tgz": lfw(images=b"<html>moved</html>"),
            "a .zip that was cut off": helen(packed=zipped(HELEN_FILES)[:5000]),
            "a .zip with a changed byte": helen(packed=zipped(HELEN_FILES).replace(JPG, JPG[:-9] + b"123456789")),
            "a .tgz header that claims 68 GB": lfw(
                images=tgz(
                    LFW_IMAGES, [{"name": "x", "type": b"L", "link": "", "claimed": 8**12, "content": b"1" * 70000}]
                )
            ),
            "a file of 300 MB in an archive": helen(
                packed=zipped(
                    HELEN_FILES,
                    [{"name": f"{HELEN}/images/0.jpg", "method": 0, "mode": 0, "claimed": 3 * 10**8, "content": JPG}],
                )
            ),
            "an image that is missing": lfw(images=tgz(dict(list(LFW_IMAGES.items())[:2]))),
            "two images of the name of one label": lfw(images=tgz(LFW_IMAGES | {"lfw_funneled/B/A_0001.jpg": JPG})),
            "two pictures that differ in their ending": lfw(
                images=tgz({name.replace("jpg", ending): JPG for name in LFW_IMAGES for ending in ("JPG", "jpeg")})
            ),
            "no label at all": lfw(labels=tgz({"parts_lfw_funneled_gt_images/readme": b""})),
            "a list that names no image there": helen(**{"tuning.txt": b"1 , ../../secret\n"}),
            "a list with control characters": helen(**{"tuning.txt": b"1 , \x1b[2J\n"}),
        },
        "Images and labels": {
            "an image that was cut off": helen(**{"images/1.jpg": JPG[:-200]}),
            "a GIF under the name .jpg": helen(**{"images/1.jpg": encoded(GREY, "GIF")}),
            "an image that claims 100,000 x 100,000 pixels": helen(**{"images/1.jpg": png(100_000, 100_000)}),
            "a probability map of 8000 x 8000 pixels": helen(**{"labels/1/1_lbl04.png": png(8000, 8000)}),
            "a probability map of 16 bits": helen(**{"labels/1/1_lbl04.png": DEEP}),
            "a probability map of another size": helen(**{"labels/1/1_lbl04.png": DOT}),
            "a probability map that is missing": helen(**{"labels/1/1_lbl04.png": None}),
            "a label in another colour": lfw(
                labels=tgz(LFW_LABELS | {"parts_lfw_funneled_gt_images/A_0001.ppm": encoded(WRONG_COLOUR, "PPM")})
            ),
        },
        "Weights files": {
            "a path that is not there": weights("mine.weights.h5"),
            "a `.keras` file with a Lambda layer": weights("mine.keras", with_a_lambda),
            "a text under the name .h5": weights("mine.weights.h5", lambda path: path.write_text("notes")),
            "the weights of another width": weights("mine.weights.h5", other_width),
            "a Keras 2 file with layers in another order": weights("mine.h5", other_order),
        },
        "Settings and calls": {
            "`keras.json` with backend theano": keras_json('{"backend": "theano"}'),
            "`keras.json` with floatx float128": keras_json('{"floatx": "float128"}'),
            "masks of 0 and 255": lambda folder: IoULoss()(255 * SQUARE, SQUARE),
            "stored maps as probabilities": lambda folder: metrics.score(SQUARE, SQUARE.astype("uint8")),
            "logits as probabilities": lambda folder: metrics.score(SQUARE, 3 * SQUARE),
            "images of shape (1, h, w)": lambda folder: metrics.iou(SQUARE[..., 0], SQUARE[..., 0]),
            "weights for pixels": lambda folder: IoULoss()(SQUARE, SQUARE, sample_weight=SQUARE),
            "`learning_rate: 9.0e+11`": lambda folder: training.refuse_non_finite(
                resolve({"learning_rate": 9e11}), [[np.nan]]
            ),
        },
        "Studies and records": {
            "a study folder without a run": lambda folder: outputs.read_study(folder),
            "a record that is not JSON": lambda folder: read_run(write_run(folder, b"{")),
            "a record of 100,000 nested lists": lambda folder: read_run(write_run(folder, b"[" * 100_000)),
            "a record without its key": record((("key",), ...)),
            "a score of 1.5": record((("scores", "iou"), 1.5)),
            "a record of another version": record((("format",), 2)),
            "a record with other parameters": record((("params", "hair"), True)),
            "a run's folder with another name": other_folder,
            "`history.csv` without epochs": run_file("history.csv", b"loss\n1\n", lambda run: run.history),
            "`per_image.csv` with a negative count": run_file(
                "per_image.csv",
                b"id,accuracy,iou,iou_soft,tp,fp,fn,tn\nAnn,1,1,1,-1,0,0,0\n",
                lambda run: run.per_image,
            ),
            "`probabilities.npz` with a pickled object": run_file(
                "probabilities.npz", npz(probabilities=np.array([Trap()]), ids=["Ann"]), lambda run: run.probabilities()
            ),
            "`probabilities.npz` of floats": run_file(
                "probabilities.npz", PROBABILITIES[1], lambda run: run.probabilities()
            ),
            "`probabilities.npz` that claims to unpack to 20 GB": run_file(
                "probabilities.npz", bomb(2**32 - 2, (10**9,)), lambda run: run.probabilities()
            ),
        },
        "Inspector and published pictures": {
            "the inspector on a folder that is not there": inspector(""),
            "the inspector on a run that is not there": inspector("fcresnet-lfw-big-hair-iou"),
            "the inspector on a published study of people": lambda folder: Inspector("published/photographs").message,
            "`pictures/lfw.npz` of another study": published,
            "publishing pictures of real people": real_people,
        },
    }.items()
    for did, provoke in rows.items()
]


def told(case: Case, folder: Path) -> str:
    """The sentence that a case gets, with <folder> and <project> for the places."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IOU_STUDY_CACHE", str(folder.parent / f"{folder.name}-cache"))
        for name in ("IOU_STUDY_DATA", "IOU_STUDY_URLS"):
            patch.delenv(name, raising=False)
        try:
            sentence = case.provoke(folder)
        except InputError as error:
            sentence = str(error)
    assert isinstance(sentence, str) and sentence, f"{case.did}: nothing was said"
    return sentence.replace(str(folder), "<folder>").replace(str(PROJECT), "<project>").removeprefix("error: ")


def row(case: Case, sentence: str) -> str:
    """A line of the table. `<` would be markup, `|` a new column."""
    return f"| {case.did} | {sentence.replace('<', '&lt;').replace('|', '&#124;')} |"


def rendered(sentences: dict[Case, str]) -> str:
    """The section: an introduction, and a table for each area."""
    lines = [SECTION, "", INTRODUCTION]
    for area in dict.fromkeys(case.area for case in sentences):
        lines += ["", f"### {area}", "", "| what one did | what it says |", "|---|---|"]
        lines += [row(case, sentence) for case, sentence in sentences.items() if case.area == area]
    return "\n".join(lines) + "\n"


def rewrite() -> None:
    """Puts the section into TROUBLESHOOTING.md, in place of the one there."""
    with tempfile.TemporaryDirectory() as place:
        sentences = {}
        for number, case in enumerate(CASES):
            folder = Path(place) / str(number)
            folder.mkdir()
            sentences[case] = told(case, folder)
    text = PAGE.read_text(encoding="utf-8")
    before, _, after = (text if SECTION in text else f"{text}\n{SECTION}\n").partition(SECTION)
    following = re.search(r"^## ", after, re.MULTILINE)
    rest = "\n" + after[following.start() :] if following else ""
    PAGE.write_text(before + rendered(sentences) + rest, encoding="utf-8")
    print(f"{PAGE.name}: {len(sentences)} rows")


def without_reasons(line: str) -> str:
    """A row without what stands in brackets."""
    return re.sub(r" \(.*\)", "", line)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras' on weights of another width
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.area}: {case.did}")
def test_the_table_has_the_sentence(case, tmp_path):
    folder = tmp_path / "case"
    folder.mkdir()
    sentence = told(case, folder)
    assert sentence.isprintable() and len(sentence) < 700
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    if sys.version_info[:2] == WRITTEN_WITH:
        assert row(case, sentence) in lines
    else:
        assert without_reasons(row(case, sentence)) in map(without_reasons, lines)


def test_the_table_has_no_other_rows():
    section = PAGE.read_text(encoding="utf-8").split(SECTION)[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| what one did")]
    assert len(rows) == len(CASES) >= 40 and len({case.did for case in CASES}) == len(CASES)


if __name__ == "__main__":
    rewrite()
