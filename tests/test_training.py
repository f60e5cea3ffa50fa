"""lib/training.py: one tiny training, its files, its scores recomputed; stopping; the cache; refusals."""

import json
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from lib import PROJECT, InputError, losses, metrics, models, provenance, record, training
from lib.analysis import predictions
from lib.beyond.scores import boundary_iou, expected_calibration_error
from lib.config import BEYOND, CHOICES, PAPER
from lib.data.layouts import FACE
from lib.record import claim, read_run


@pytest.fixture(scope="module")
def task(tiny, faces):
    return training.load_task(tiny)


@pytest.fixture(scope="module")
def trained(tiny, task, tmp_path_factory):
    """One run of `tiny`: (folder, record, network with its best weights)."""
    folder, network = tmp_path_factory.mktemp("study") / tiny.run_id, training.build(tiny)
    return folder, training.run(tiny, folder, network, task), network


def weights(network):
    return [keras.ops.convert_to_numpy(weight) for weight in network.weights]


# ---- the data of a run ------------------------------------------------------------------------------------


def test_the_task_describes_its_data(tiny, task):
    about = task.describe()
    assert about["counts"] == {"train": 16, "validation": 2, "test": 2} and about["images"] == 20
    assert about["scaled"] and not about["official"] and about["note"] and len(about["digest"]) == 64
    labels = task.dataset.labels[18:]
    assert about["positive_share"] == pytest.approx((labels == FACE).mean(), abs=1e-6)


def test_batches_hold_each_image_once_and_are_reshuffled_from_the_seed(tiny, task):
    def epoch(batches, number=0):
        return np.concatenate([batches[number * len(batches) + step][0] for step in range(len(batches))])[:, 0]

    numbers = np.arange(20)[:, None]  # features that are the number of their image
    one, same, other, fixed = (
        training.Batches(task, slice(0, 10), "bfcn32s", numbers, 4, seed) for seed in (0, 0, 1, None)
    )
    assert len(one) == 3 and [len(one[step][0]) for step in range(3)] == [4, 4, 2]
    first = epoch(one)
    np.testing.assert_array_equal(np.sort(first), np.arange(10))
    np.testing.assert_array_equal(first, epoch(same))
    assert (first != epoch(other)).any()
    np.testing.assert_array_equal(epoch(fixed), np.arange(10))
    assert (first != epoch(one, 1)).any()
    np.testing.assert_array_equal(np.sort(epoch(one, 1)), np.arange(10))
    assert one.num_batches is None and fixed.num_batches == 3  # Keras reads on from epoch to epoch, or to the end


def test_batches_of_images_are_preprocessed_and_match_their_masks(task):
    batches = training.Batches(task, task.split.validation, "bfcn32s", None, 4)
    images, masks = batches[0]
    rows = np.arange(20)[task.split.validation]
    np.testing.assert_array_equal(images, models.preprocess("bfcn32s", task.dataset.images[rows]))
    np.testing.assert_array_equal(masks, task.masks(rows))
    assert images.dtype == "float32" and masks.shape == (2, 32, 32, 1)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only TensorFlow traces a step that makes variables twice"
)
def test_the_training_step_is_traced_once(tiny, task, monkeypatch):
    traced, step = [], keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", lambda self, data: traced.append(data) or step(self, data))
    training.fit(tiny, training.build(tiny), task)
    assert len(traced) == 1


# ---- what a run writes ------------------------------------------------------------------------------------


def test_a_run_writes_what_the_analysis_reads(tiny, trained):
    folder, record, _ = trained
    assert {path.name for path in folder.iterdir()} == {
        "history.csv",
        "per_image.csv",
        "probabilities.npz",
        "record.json",
    }
    run = read_run(folder)
    assert run.record == json.loads(json.dumps(record))  # what was returned is what was written
    assert run.record["key"] == provenance.key(tiny)[0] and record["data"]["counts"]["test"] == 2
    assert record["epochs_run"] == 2 and record["best_epoch"] in (1, 2)
    assert {"keras", "backend", "python", "numpy"} <= set(record["versions"])
    np.testing.assert_array_equal(run.history["epoch"], [1, 2])
    names = ("loss", "accuracy", "iou", "iou_soft")
    assert set(run.history) == {"epoch", *names, *(f"val_{name}" for name in names)}
    assert all(np.isfinite(column).all() for column in run.history.values())


def test_the_scores_can_be_recomputed_from_the_predictions(task, trained):
    """Thresholded scores exactly, IoU′ within the rounding of the stored probabilities."""
    run = read_run(trained[0])
    probabilities, ids = run.probabilities()
    assert probabilities.shape == (2, 32, 32) and probabilities.dtype == "uint8"
    assert list(ids) == list(task.dataset.ids[18:]) == list(run.per_image["id"])
    masks = task.masks(task.split.test)
    counts = metrics.confusion(masks, probabilities[..., None] > 127)
    for name, found in counts._asdict().items():
        np.testing.assert_array_equal(found, run.per_image[name], err_msg=name)
    assert run.record["scores"]["accuracy"] == counts.accuracy.mean()
    assert run.record["scores"]["iou"] == counts.iou.mean()
    assert run.record["scores"]["iou_pooled"] == counts.pooled().iou[0]
    soft, _ = metrics.score(masks, probabilities[..., None] / 255)
    assert run.record["scores"]["iou_soft"] == pytest.approx(soft["iou_soft"], abs=1 / 255)


def test_the_scores_can_be_recomputed_from_the_values_per_image(trained):
    run = read_run(trained[0])
    kept = [f"{name}_{rule}" for rule in training.RULES for name in ("iou", "iou_soft")]
    for name in ("accuracy", "iou", "iou_soft", *kept):
        assert run.record["scores"][name] == run.per_image[name].mean(), name
    for rule, epoch in run.record["epochs_kept"].items():  # the same epoch, the same scores
        if epoch == run.record["best_epoch"]:
            assert run.record["scores"][f"iou_{rule}"] == run.record["scores"]["iou"]


def test_the_network_that_is_left_is_the_one_that_was_scored(tiny, task, trained):
    run, network = read_run(trained[0]), trained[2]
    found = network.predict(models.preprocess(tiny.model, task.dataset.images[task.split.test]), verbose=0)
    stored = run.probabilities()[0] / 255
    np.testing.assert_allclose(found[..., 0], stored, atol=1 / 510 + 1e-5)


def test_training_left_the_frozen_part_as_it_was(tiny, trained):
    """And moved the rest."""
    for before, after in zip(training.build(tiny).layers, trained[2].layers):
        for old, new in zip(before.get_weights(), after.get_weights()):
            assert (old == new).all() == (not after.trainable), after.name


def test_the_training_cell_run_twice_trains_a_fresh_network(tiny, task, trained, tmp_path):
    """Also after a training that was interrupted: a record is never that of a network that was trained before."""
    folder, record, network = trained
    before = weights(network)
    repeated = training.run(tiny, tmp_path / tiny.run_id, network, task)
    assert (folder / "history.csv").read_bytes() == (tmp_path / tiny.run_id / "history.csv").read_bytes()
    assert repeated["scores"] == record["scores"]
    for one, two in zip(before, weights(network)):
        np.testing.assert_array_equal(one, two)

    def stop(*_):
        raise KeyboardInterrupt

    again = training.build(tiny)
    with pytest.raises(KeyboardInterrupt):
        training.run(tiny, tmp_path / "stopped", again, task, [keras.callbacks.LambdaCallback(on_epoch_end=stop)])
    assert training.run(tiny, tmp_path / "stopped", again, task)["scores"] == record["scores"]


def test_same_seed_same_result(tiny, task, trained, tmp_path):
    """Bit for bit, with a network of its own; another seed gives other weights."""
    folder, record, network = trained
    again = training.build(tiny)
    repeated = training.run(tiny, tmp_path / tiny.run_id, again, task)
    for name in ("history.csv", "per_image.csv"):
        assert (folder / name).read_bytes() == (tmp_path / tiny.run_id / name).read_bytes()
    np.testing.assert_array_equal(
        read_run(tmp_path / tiny.run_id).probabilities()[0], read_run(folder).probabilities()[0]
    )
    for one, two in zip(weights(network), weights(again)):
        np.testing.assert_array_equal(one, two)
    assert repeated["scores"] == record["scores"] and repeated["key"] == record["key"]
    one, other = (training.build(replace(tiny, seed=seed)).get_layer("fc6") for seed in (0, 1))
    assert (one.get_weights()[0] != other.get_weights()[0]).any()


# ---- cached features --------------------------------------------------------------------------------------


def test_cached_features_do_not_change_the_training(tiny, cache, monkeypatch):
    """The same history and weights, bit for bit, as without the cache, where all batches are of one size.

    Convolutions of another number of images can round in another way, so images are encoded in batches of a step's size
    here, and each part of the split is a multiple of it.
    """
    monkeypatch.setattr(training, "ENCODE_BATCH", tiny.batch_size)
    config = replace(tiny, synthetic_images=40)
    task, cached, plain = training.load_task(config), training.build(config), training.build(config)
    assert all(len(part) % 4 == 0 for part in (np.arange(40)[task.split.train], np.arange(40)[task.split.validation]))
    history, _ = training.fit(config, cached, task)
    expected, _ = training.fit(replace(config, cache_features=False), plain, task)
    for name, values in expected.items():
        np.testing.assert_array_equal(history[name], values, err_msg=name)
    for one, two in zip(weights(cached), weights(plain)):
        np.testing.assert_array_equal(one, two)


def test_training_equals_keras_fit_of_the_whole_network(tiny, task, trained):
    """The same weights and scores as from a data set that ends and is reshuffled after each epoch, nothing cached."""

    class Epochs(keras.utils.PyDataset):
        epoch, rows = 0, np.arange(20)[task.split.train]
        order = rows

        def __len__(self):
            return -(-len(self.rows) // tiny.batch_size)

        def __getitem__(self, step):
            rows = np.sort(self.order[step * tiny.batch_size :][: tiny.batch_size])
            return models.preprocess(tiny.model, task.dataset.images[rows]), task.masks(rows)

        def on_epoch_end(self):  # Keras calls it before the first epoch too
            self.epoch += 1
            self.order = np.random.default_rng([tiny.seed, self.epoch]).permutation(self.rows)

    network, kept = training.build(tiny), task.split.validation
    whole = keras.Model(network.input, network.get_layer("logits").output)
    whole.compile(
        keras.optimizers.RMSprop(tiny.learning_rate, epsilon=tiny.rmsprop_epsilon),
        losses.IoULoss(),
        metrics=[metrics.accuracy, metrics.iou, metrics.iou_soft],
    )
    best = keras.callbacks.EarlyStopping("val_iou", patience=tiny.patience, restore_best_weights=True, mode="max")
    validation = models.preprocess(tiny.model, task.dataset.images[kept]), task.masks(kept)
    fitted = whole.fit(
        Epochs(), validation_data=validation, epochs=tiny.epochs, verbose=0, shuffle=False, callbacks=[best]
    )
    history = read_run(trained[0]).history
    assert set(fitted.history) == set(history) - {"epoch"}
    for name, expected in fitted.history.items():
        np.testing.assert_allclose(history[name], expected, rtol=1e-5, err_msg=name)
    for one, two in zip(weights(trained[2]), weights(network)):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


def test_the_frozen_part_is_in_inference_mode_during_training_too(tiny, task):
    """So that features can be cached: frozen batch normalisation uses its stored statistics."""
    frozen, trained_half = models.halves(training.build(replace(tiny, model="fcresnet", score_start="glorot")), 1)
    images = models.preprocess("fcresnet", task.dataset.images[:4])
    features = frozen(images, training=False)
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (features, frozen(images, training=True))))
    logits = [keras.ops.convert_to_numpy(trained_half(features, training=mode)) for mode in (False, True)]
    assert (logits[0] != logits[1]).any()  # res5 is trained, and so uses the batch's statistics


def test_features_are_computed_once(tiny, task, cache, monkeypatch):
    frozen, _ = models.halves(training.build(tiny), tiny.trainable_blocks)
    first = training.features(tiny, task, frozen)
    assert first.shape == (20, 2, 2, 64) and first.dtype == "float32" and not first.flags.writeable
    expected = frozen.predict(models.preprocess(tiny.model, task.dataset.images), verbose=0)
    np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(models, "preprocess", None)  # would be needed to compute them again
    other_run = replace(tiny, loss="bce", hair=True)
    np.testing.assert_array_equal(training.features(other_run, task, frozen), first)


def test_features_depend_on_the_frozen_weights(tiny, task, cache):
    one, two = (models.halves(training.build(replace(tiny, seed=seed)), 1)[0] for seed in (0, 1))
    assert (training.features(tiny, task, one) != training.features(tiny, task, two)).any()


# ---- stopping ---------------------------------------------------------------------------------------------


class Ruin(keras.callbacks.Callback):
    """Makes every epoch but the first predict nothing, which RMSprop's steps of 0.001 cannot undo."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.get_layer("score").bias.assign([60.0 if epoch == 0 else -60.0])


def test_training_stops_after_patience_with_the_best_weights(tiny, task):
    """The first epoch predicts face everywhere, those after it nowhere."""
    config, network = replace(tiny, epochs=10, patience=3), training.build(tiny)
    history, outcome = training.fit(config, network, task, [Ruin()])
    assert outcome["epochs_run"] == 4 and outcome["best_epoch"] == 1
    assert history["epoch"] == [1, 2, 3, 4] and history["val_iou"][1:] == [0, 0, 0]
    probabilities = outcome["predict"](task.split.validation)
    score, _ = metrics.score(task.masks(task.split.validation), probabilities)
    assert score["iou"] == pytest.approx(history["val_iou"][0], rel=1e-6) and score["iou"] > 0
    images = models.preprocess(config.model, task.dataset.images[task.split.validation])
    best = network.predict(images, verbose=0)
    np.testing.assert_allclose(best, probabilities, atol=1e-6)


class Biases(keras.callbacks.Callback):
    """Sets the score layer's bias before each epoch."""

    def __init__(self, *biases):
        super().__init__()
        self.biases = biases

    def on_epoch_begin(self, epoch, logs=None):
        self.model.get_layer("score").bias.assign([self.biases[epoch]])


def test_three_stopping_rules_keep_three_epochs_of_one_training(tiny, task):
    """Face everywhere, then nowhere but hardly sure, then nowhere and sure: the best IoU, the lowest BCE, the last."""
    config, network = replace(tiny, loss="bce", epochs=3, patience=5), training.build(tiny)
    history, outcome = training.fit(config, network, task, [Biases(60.0, -2.0, -60.0)])
    assert history["val_iou"][0] > 0 == history["val_iou"][2] and np.argmin(history["val_loss"]) == 1
    assert outcome["best_epoch"] == 1 and outcome["epochs_run"] == 3
    assert outcome["epochs_kept"] == {"best_loss": 2, "last": 3}
    own, lowest, last = (outcome["predict"](task.split.validation, rule) for rule in (None, "best_loss", "last"))
    assert own.min() > 0.99 and 0.01 < lowest.mean() < 0.5 and last.max() < 1e-5
    score, _ = metrics.score(task.masks(task.split.validation), own)
    assert score["iou"] == pytest.approx(history["val_iou"][0], rel=1e-6)
    images = models.preprocess(config.model, task.dataset.images[task.split.validation])
    np.testing.assert_allclose(network.predict(images, verbose=0), own, atol=1e-6)  # the network has its own again


def test_a_monitored_loss_is_to_fall_and_nothing_is_restored_if_that_is_asked(tiny, task):
    chosen = replace(tiny, monitor="val_loss", loss="bce", restore_best=False)
    history, outcome = training.fit(chosen, training.build(tiny), task, [Biases(-2.0, -60.0)])
    assert history["val_loss"].index(min(history["val_loss"])) + 1 == outcome["best_epoch"] == 1
    own, lowest, last = (outcome["predict"](task.split.test, rule) for rule in (None, "best_loss", "last"))
    np.testing.assert_array_equal(own, last)
    assert own.max() < 1e-5 < 0.01 < lowest.max()


def test_a_loss_that_is_no_number_ends_the_run(tiny, task, tmp_path, monkeypatch):
    class NoNumber(losses.IoULoss):
        def call(self, y_true, y_pred):
            return super().call(y_true, y_pred) * float("nan")

    monkeypatch.setitem(training.LOSSES, "iou", NoNumber)
    with pytest.raises(InputError, match=f"^{tiny.run_id}: the loss became nan in epoch 1; .*learning_rate"):
        training.run(tiny, tmp_path / tiny.run_id, task=task)
    assert not (tmp_path / tiny.run_id / "record.json").exists()


@pytest.mark.parametrize("loss", ["iou", "bce"])
def test_a_last_step_that_makes_weights_no_numbers_ends_the_run(tiny, task, tmp_path, loss):
    """The loss of the last step is that before its update, so no loss of training shows it."""

    class TooFar(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == self.params["steps"] - 1:
                self.model.get_layer("score").bias.assign([float("nan")])

    config = replace(tiny, loss=loss, epochs=1)
    with pytest.raises(InputError, match=f"^{config.run_id}: weights or validation losses became NaN .*; lower learn"):
        training.run(config, tmp_path / config.run_id, task=task, callbacks=[TooFar()])
    assert not (tmp_path / config.run_id / "record.json").exists()


@pytest.mark.parametrize("bad", [[np.array([1.0, np.nan])], [np.ones(2), np.array(np.inf)], [float("nan")], None])
def test_weights_and_losses_that_are_no_numbers_are_refused(tiny, bad):
    training.refuse_non_finite(tiny, [[np.ones(3), np.zeros(())], [0.5]])
    with pytest.raises(InputError, match=f"^{tiny.run_id}: weights or validation losses .*; lower learning_rate"):
        training.refuse_non_finite(tiny, [[np.ones(3)], bad])


def test_a_run_that_could_not_be_read_again_is_refused_before_training(tiny, task, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "MAX_ARRAYS", 2000)
    with pytest.raises(InputError, match="image_size: the maps of 2 test images of 32 px have more than 2,000 bytes"):
        training.run(tiny, tmp_path / tiny.run_id, task=task)


# ---- where a run writes -----------------------------------------------------------------------------------


def test_an_earlier_run_is_set_aside_by_a_complete_one_only(tiny, task, tmp_path):
    folder = tmp_path / tiny.run_id
    folder.mkdir()
    (folder / "record.json").write_text("an earlier run")
    claim(folder)
    with pytest.raises(InputError):
        training.run(replace(tiny, encoder_weights="/nowhere/weights.h5"), folder, task=task)
    assert (folder / "record.json").read_text() == "an earlier run"
    training.run(replace(tiny, epochs=1), folder, task=task)
    kept = [path for path in tmp_path.rglob("record.json") if path.parent != folder]
    assert len(kept) == 1 and kept[0].read_text() == "an earlier run"
    assert read_run(folder).record["epochs_run"] == 1


def test_a_folder_that_cannot_be_written_is_refused_before_training(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/run: cannot be written .*choose another output folder"):
        training.run(tiny, tmp_path / "file" / "run")


# ---- full size ------------------------------------------------------------------------------------------


def test_a_step_at_224_pixels_does_not_abort():
    """At this size the gradient of Keras' transposed convolution aborts TensorFlow on a CPU."""
    script = (
        "import keras, numpy as np\n"
        "from lib import losses, models\n"
        "network = models.build('bfcn32s', 224, 0.125, 8, 'none', 0)\n"
        "network = keras.Model(network.input, network.get_layer('logits').output)\n"
        "network.compile('rmsprop', losses.IoULoss())\n"
        "x = np.zeros((20, 224, 224, 3), 'float32')\n"
        "print('loss', float(network.train_on_batch(x, x[..., :1])))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("loss "), done.stderr[-2000:]


# ---- beyond the paper -------------------------------------------------------------------------------------


def test_scores_beyond_the_paper(trained, task):
    """The threshold comes from the validation part; the other scores from the maps that are stored."""
    folder, record, _ = trained
    scores, per_image = record["scores"], read_run(folder).per_image
    maps, _ = read_run(folder).probabilities()
    masks = task.masks(task.split.test)[..., 0]
    tuned = metrics.confusion(masks, maps > 255 * scores["threshold"]).iou
    np.testing.assert_allclose(per_image["iou_tuned"], tuned, atol=1e-12)
    assert scores["iou_tuned"] == pytest.approx(tuned.mean())
    boundary = boundary_iou(masks, maps > 127)
    np.testing.assert_allclose(per_image["boundary_iou"], boundary, atol=1e-12)
    assert scores["boundary_iou"] == pytest.approx(boundary.mean())
    assert scores["calibration_error"] == pytest.approx(expected_calibration_error(masks, maps))


def test_the_reduction_of_the_loss_is_a_parameter(tiny):
    mask, logits = np.zeros((4, 8, 8, 1)), np.ones((4, 8, 8, 1), "float32")
    mask[:, :4] = 1
    for name, own in (("iou", "sum"), ("bce", "mean"), ("dice", "sum")):
        found = {
            reduction: float(training.loss(replace(tiny, loss=name, loss_reduction=reduction))(mask, logits))
            for reduction in ("own", "sum", "mean")
        }
        assert found["sum"] == pytest.approx(4 * found["mean"]) and found["own"] == found[own]


def test_pooled_takes_the_batch_as_one_image(tiny):
    rng = np.random.default_rng(0)
    mask, logits = (rng.random((4, 8, 8, 1)) < 0.3).astype("float32"), rng.normal(size=(4, 8, 8, 1)).astype("float32")
    tall = [x.reshape(1, 32, 8, 1) for x in (mask, logits)]
    for name in ("iou", "bce", "dice", "lovasz_hinge", "bce_iou"):
        of_tall = float(training.loss(replace(tiny, loss=name))(*tall))
        assert float(training.loss(replace(tiny, loss=name, loss_reduction="pooled"))(mask, logits)) == pytest.approx(
            of_tall
        )


def test_every_loss_that_may_be_asked_for_is_there():
    assert set(training.LOSSES) == set(CHOICES["loss"])
    assert {*PAPER["model"], *BEYOND["model"]} == set(filter(None, models.NETWORKS))


def test_frozen_batch_norm_neither_trains_nor_moves(tiny, task):
    chosen = replace(tiny, model="fcresnet", batch_norm="frozen")
    network = training.build(chosen)
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = [weight for layer in norms for weight in layer.get_weights()]
    training.fit(chosen, network, task)
    after = [weight for layer in norms for weight in layer.get_weights()]
    assert len(norms) == 53 and all(np.array_equal(*pair) for pair in zip(before, after))


@pytest.mark.parametrize("model, cached", [("segnet", False), ("fcn8s", True), ("unet", False)])
def test_other_networks_train_as_the_papers_do(tiny, task, model, cached):
    chosen = replace(tiny, model=model, loss="lovasz_sigmoid", trainable_blocks=2)
    network = training.build(chosen)
    before = {layer.name: layer.get_weights() for layer in network.layers}
    history, outcome = training.fit(chosen, network, task)
    assert len(history["loss"]) == outcome["epochs_run"] and np.isfinite(history["loss"]).all()
    assert outcome["predict"](task.split.test).shape == task.masks(task.split.test).shape
    moved = {
        layer.name
        for layer in network.layers
        if any((a != b).any() for a, b in zip(before[layer.name], layer.get_weights()))
    }
    assert moved == {layer.name for layer in network.layers if layer.trainable and before[layer.name]}
    assert "block4_conv1" in moved and "block3_conv3" not in moved
    assert (models.halves(network, 2)[0] is not None) == cached


def test_a_random_split_trains_and_tests_on_images_that_its_seed_draws(tiny, faces, tmp_path):
    """The run's own scores are those of its maps on the pictures that the inspector reads again for it."""
    chosen = replace(tiny, split="random", seed=5, epochs=1)
    record = training.run(chosen, tmp_path / chosen.run_id)
    run = read_run(tmp_path / chosen.run_id)
    drawn = faces.split("big", 5)
    assert run.per_image["id"].tolist() == [faces.ids[i] for i in drawn.test] != [faces.ids[i] for i in (18, 19)]
    assert record["data"]["counts"] == {"train": 16, "validation": 2, "test": 2}
    _, masks = predictions.test_pictures(run)
    np.testing.assert_allclose(metrics.confusion(masks, run.probabilities()[0] > 127).iou, run.per_image["iou"])


def test_dead_units_by_hand():
    """fc6 makes ReLU(x), ReLU(-x) and ReLU(x - 100) of an image of ones: two of three are dead; fc7 has one, alive."""
    for layers in (1, 2):
        images = keras.Input((2, 2, 1))
        x = keras.layers.Conv2D(3, 1, activation="relu", name="fc6")(images)
        outputs = (
            keras.layers.Conv2D(1, 1, activation="relu", name="fc7", kernel_initializer="ones")(x) if layers == 2 else x
        )
        network = keras.Model(images, outputs)
        network.get_layer("fc6").set_weights([np.array([[[[1.0, -1.0, 1.0]]]]), np.array([0.0, 0.0, -100.0])])
        batches = [(np.ones((3, 2, 2, 1), "float32"), None), (np.zeros((1, 2, 2, 1), "float32"), None)]
        dead = training.DeadUnits(network, network.input, batches).shares()
        assert dead == pytest.approx({"fc6": 2 / 3} | ({"fc7": 0.0} if layers == 2 else {}))
