"""The inspector: a widget to look at the test images of a study in a notebook.

The browser (`inspector.js`) has the probabilities and computes pictures, numbers and charts, so that sliders need no
answer from the kernel. The kernel reads studies and sends images on request.
"""

import io
from base64 import b64encode
from html import escape
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from IPython.display import HTML, display
from traitlets import Dict, Float, List, Unicode

from lib import InputError, outputs
from lib.analysis import pairs as paired
from lib.analysis import predictions
from lib.analysis.predictions import Evaluation
from lib.outputs import Study
from lib.view.pictures import ERRORS, masks
from lib.view.plots import COLOURS, NAMES, VALIDATION

ORDERS = ("name", "first", "second", "difference")
VIEWS = ("image", "label", "probability", "mask", "errors", "contours")
HERE = Path(__file__).parent
# It hides where the widget lives; where that is gone, it hides JupyterLab's "Error displaying widget".
STILL = """<style>
.jp-OutputArea:has(.iou-inspector) .iou-inspector-still {{ display: none; }}
.jp-OutputArea:has(.iou-inspector-still) .jp-OutputArea-child:has(.jupyter-widgets:not(:has(*))) {{ display: none; }}
</style><div class="iou-inspector-still">{}</div>"""


class Inspector(anywidget.AnyWidget):
    """Any test image of a study, one or two runs side by side, at any threshold.

    Every trait can be read and set from Python, and follows what is clicked:

    study: folder of the study.  first, second: run ids; `second` may be "" (one run alone).
    image: id of the image shown.  threshold: a pixel is positive if P is above it, in [0, 1].
    opacity: of masks and errors over the image, in [0, 1].
    order: how images are sorted: name, first, second (IoU of that run, worst first) or difference (first - second).
    views: those of `VIEWS` that are shown.
    message: the error, one sentence; "" if there is none.

    Args:
        study: a study's folder, absolute or from the project's folder; by default the one that `make study` wrote,
            else the published one.
        first, second: run ids shown first; by default a pair of IoU loss and BCE loss.
    """

    _esm = HERE / "inspector.js"
    _css = HERE / "inspector.css"

    studies = List(Unicode()).tag(sync=True)
    study = Unicode().tag(sync=True)
    runs = List(Unicode()).tag(sync=True)
    partners = List(Unicode()).tag(sync=True)
    first = Unicode().tag(sync=True)
    second = Unicode().tag(sync=True)
    content = Dict().tag(sync=True)  # of both runs: names, colours, image ids, IoU of every image and threshold
    image = Unicode().tag(sync=True)
    threshold = Float(0.5, min=0, max=1).tag(sync=True)
    opacity = Float(0.6, min=0, max=1).tag(sync=True)
    order = traitlets.Enum(ORDERS, "name").tag(sync=True)
    views = List(traitlets.Enum(VIEWS), list(VIEWS)).tag(sync=True)
    message = Unicode().tag(sync=True)

    def __init__(self, study: str | Path | None = None, first: str = "", second: str | None = None, **traits):
        super().__init__(**traits)
        self._study: Study | None = None
        self._evaluations: list[Evaluation] = []
        self._images: np.ndarray | None = None
        self._showing = False
        self.on_msg(self._answer)
        self.observe(lambda change: self.show(change.new), "study")
        # Another first run is shown with its partner, unless one run is shown alone.
        self.observe(lambda change: self.show(self.study, change.new, self.second and None), "first")
        self.observe(lambda change: self.show(self.study, self.first, change.new), "second")
        self.show(study or outputs.default_study(), first, second)

    def show(self, study: str | Path, first: str = "", second: str | None = None) -> None:
        """Shows a study's runs `first` and `second`, by default a pair; an error becomes the message.

        Args:
            study: its folder, see `outputs.folder_of`.
            first: a run id; "" is the first pair's run with IoU loss.
            second: a run id, or "" for none; None, or a run tested on other images, is the run with the other loss.
        """
        if self._showing:  # the traits set below call this again
            return
        self._showing, self.message = True, ""
        try:
            self._show(outputs.folder_of(study), first, second)
        except InputError as error:
            self._evaluations, self._images, self.content = [], None, {}
            self.message = str(error)
        finally:
            self._showing = False

    def _show(self, folder, first, second):
        self.study = outputs.name_of(folder)
        found = [state.name for state in outputs.studies() if state.done]
        self.studies = found if self.study in found else [*found, self.study]
        if self._study is None or self._study.folder != folder:
            self._study, self.runs, self.partners = None, [], []
            self._study = outputs.read_study(folder)
        pairs = paired.pairs(self._study)
        first = first or (pairs[0][1].run_id if pairs else next(iter(self._study)))
        self.runs = list(self._study)
        if first not in self._study:
            raise InputError(f"{folder}: has no finished run {first!r}; choose one of {', '.join(self._study)}")
        run = self._study[first]
        partners = {other.run_id: other for other in predictions.comparable(self._study, run)}
        if second is None or second and second not in partners:
            second = next((name for name, other in partners.items() if other.cell == run.cell), "")
        self.partners, self.first, self.second = list(partners), first, second
        run.check_has_maps()
        images, labels = predictions.test_pictures(run)
        evaluations = [predictions.evaluate(shown, labels) for shown in (run, partners.get(second)) if shown]
        self._images, self._evaluations = images, evaluations
        ids = run.per_image["id"].tolist()
        self.content = {"ids": ids, "size": labels.shape[1], "errors": ERRORS, "runs": list(map(_sent, evaluations))}
        if self.image not in ids:
            self.image = ids[0]

    @traitlets.validate("image")
    def _is_shown(self, proposal):
        ids = self.content.get("ids", [])
        if ids and proposal.value not in ids:
            raise traitlets.TraitError(
                f"image: there is no test image {proposal.value[:100]!r}; take one of "
                f"content['ids'], for example {ids[0]!r}"
            )
        return proposal.value

    def show_largest_disagreement(self) -> None:
        """Shows the pair of runs and the image with the largest difference in IoU of the losses. Raises InputError."""
        if self._study is None:
            raise InputError(self.message)
        first, second, image = predictions.largest_disagreement(self._study)
        self.show(self._study.folder, first.run_id, second.run_id)
        self.order, self.image = "difference", image

    def _ipython_display_(self) -> None:
        """Shows the widget, and a still picture for readers without a kernel, which a living widget hides."""
        bundle, metadata = self._repr_mimebundle_()
        bundle["text/plain"] = "The inspector of masks needs a running kernel: run this cell in JupyterLab."
        display(bundle, metadata=metadata, raw=True)
        display(HTML(self._still()))

    def _still(self) -> str:
        """What the widget shows at first, as HTML: an image and each run's mask of it, or why not."""
        if self._images is None:
            return STILL.format(f"<p>{escape(self.message)}</p>")
        row = self.content["ids"].index(self.image)
        runs = [(NAMES.get(each.run.loss, each.run.loss), each.run.per_image["iou"][row]) for each in self._evaluations]
        n, file = len(runs), io.BytesIO()
        figure = masks(
            np.stack([self._images[row]] * n),
            np.stack([each.masks[row] for each in self._evaluations]),
            np.stack([each.probabilities[row] for each in self._evaluations]),
            [name for name, _ in runs],
        )
        figure.savefig(file, format="png", dpi=80)
        text = f"{self.image} of {self._study.folder.name}: IoU " + ", ".join(
            f"{iou:.3f} after {name}" for name, iou in runs
        )
        picture = f'<img alt="{escape(text)}" src="data:image/png;base64,{b64encode(file.getvalue()).decode()}">'
        return STILL.format(
            f"{picture}<p>{escape(text)}. This is a still picture: run the cell in JupyterLab to choose another.</p>"
        )

    def _answer(self, _, content, buffers):
        """Sends the pixels of one image: RGB, label, and each run's probabilities, all uint8."""
        row = content.get("row")
        if self._images is not None and isinstance(row, int) and 0 <= row < len(self._images):
            arrays = [
                self._images[row],
                self._evaluations[0].masks[row],
                *(evaluation.probabilities[row] for evaluation in self._evaluations),
            ]
            self.send(
                {"row": row, "runs": [evaluation.run.run_id for evaluation in self._evaluations]},
                [np.ascontiguousarray(array).tobytes() for array in arrays],
            )


def _sent(evaluation):
    """The data of a run for the browser: float32 IoU of every image at every threshold, mean accuracy, names."""
    iou, accuracy = evaluation.curves
    run = evaluation.run
    return {
        "id": run.run_id,
        "name": NAMES.get(run.loss, run.loss),
        "colour": COLOURS.get(run.loss, VALIDATION),
        "iou": np.ascontiguousarray(iou).tobytes(),
        "accuracy": accuracy.mean(0).tobytes(),
        "notebook": str(run.notebook) if run.notebook.is_file() else "",
    }
