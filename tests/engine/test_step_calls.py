"""What callbacks are told of steps, many of which are one program."""

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from bicoder import VAE, Decoder, Encoder
from bicoder.engine import step_calls
from bicoder.engine.batches import Batches
from bicoder.engine.step_calls import BetweenPrograms
from bicoder.networks import MLP


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).random((100, 12), "float32")


def small_vae(**options):
    """A compiled model, by TensorFlow's own kernels, which are compiled sooner."""
    vae = VAE(Encoder(MLP((16,)), latent_dim=3), Decoder(MLP((16,))), seed=0)
    options.setdefault("optimizer", keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 30)))
    vae.compile(jit_compile=False, **options)
    return vae


class Steps(keras.callbacks.Callback):
    """Remembers all that it is told and finds."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def note(self, what, batch, logs):
        optimizer = self.model.optimizer
        found = int(optimizer.iterations), float(np.asarray(optimizer.learning_rate))
        self.seen.append((what, batch, *found, *(float(value) for value in logs.values())))

    def on_train_batch_begin(self, batch, logs=None):
        self.note("begin", batch, {})

    def on_train_batch_end(self, batch, logs=None):
        assert {type(value) for value in logs.values()} == {float}
        self.note("end", batch, logs)

    def on_test_batch_begin(self, batch, logs=None):
        self.note("test", batch, {})

    def on_test_batch_end(self, batch, logs=None):
        self.note("tested", batch, logs)


class Programs(BetweenPrograms):
    """Remembers which steps it is told of."""

    def __init__(self):
        super().__init__()
        self.begun, self.ended = [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.begun.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        self.ended.append(batch)
        assert len(self.model.step_metrics["loss"]) == batch - self.begun[-1] + 1
        assert self.model.step_metrics["loss"][-1] == pytest.approx(logs["loss"])


def told(vectors, steps):
    """What a callback is told in two epochs of 12 steps, if so many are a program."""
    vae, notes = small_vae(steps_per_execution=steps), Steps()
    options = {"validation_data": vectors[:40], "epochs": 2, "batch_size": 9}
    vae.fit(vectors, verbose=0, callbacks=[notes], **options)
    assert int(vae.optimizer.iterations) == 24
    return notes.seen


def test_programs_of_many_steps_tell_what_single_steps_tell(vectors):
    one, many = told(vectors, 1), told(vectors, 5)
    assert [row[:3] for row in many] == [row[:3] for row in one]
    for found, expected in zip(many, one, strict=True):
        np.testing.assert_allclose(found[3:], expected[3:], rtol=1e-5)
    assert len({row[3] for row in many}) > 20  # the learning rate moves with every step


@pytest.mark.parametrize("skip", [0, 3])
def test_callbacks_of_programs_are_told_of_first_and_last_steps(skip, vectors):
    data, programs, notes = Batches(vectors, 9, 0), Programs(), Steps()
    dataset = data.dataset()
    data.skip.assign(skip)
    small_vae(steps_per_execution=5).fit(dataset, verbose=0, callbacks=[notes, programs])
    assert programs.begun == list(range(skip, 12, 5))
    assert programs.ended == [min(first + 4, 11) for first in programs.begun]
    assert [row[1] for row in notes.seen if row[0] == "end"] == list(range(skip, 12))


def test_the_first_step_begins_before_its_program_runs(vectors):
    class Weights(keras.callbacks.Callback):
        def on_batch_begin(self, batch, logs=None):
            seen.append((batch, self.model.get_weights()[0]))

    seen, vae = [], small_vae(steps_per_execution=5)
    vae.build((None, 12))
    before = vae.get_weights()[0]
    vae.fit(vectors, batch_size=9, verbose=0, callbacks=[Weights()])
    assert [batch for batch, _ in seen] == list(range(12))
    np.testing.assert_array_equal(seen[0][1], before)
    assert not np.array_equal(seen[1][1], before)


def test_functions_and_their_kind_heed_steps_too(vectors):
    ended, aliases = [], []
    function = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ended.append(batch))

    class Alias(keras.callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            aliases.append(batch)

    small_vae().fit(vectors, batch_size=9, verbose=0, callbacks=[function, Alias()])
    assert ended == aliases == list(range(12))


def test_who_heeds_no_steps_costs_none(vectors, tmp_path, monkeypatch):
    class Progress(keras.callbacks.ProgbarLogger):
        def on_train_batch_end(self, batch, logs=None):
            calls.append(batch)

    calls = []
    monkeypatch.setattr(step_calls, "counting", None)  # what takes time
    of_epochs = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    callbacks = [Progress(), keras.callbacks.EarlyStopping("loss"), keras.callbacks.TensorBoard(tmp_path), of_epochs]
    small_vae(steps_per_execution=5).fit(vectors, batch_size=9, verbose=0, callbacks=callbacks)
    assert calls == [4, 9, 11]


def test_tensorboard_of_keras_writes_every_fifth_step(vectors, tmp_path):
    vae = small_vae()
    vae.fit(
        vectors, batch_size=9, epochs=2, verbose=0, callbacks=[keras.callbacks.TensorBoard(tmp_path, update_freq=5)]
    )
    found = EventAccumulator(str(tmp_path / "train"))
    found.Reload()
    assert [event.step for event in found.Tensors("batch_loss")] == [5, 10, 15, 20]


def test_checkpoints_of_keras_are_of_the_step_that_they_name(vectors, tmp_path):
    vae = small_vae(steps_per_execution=5)
    path = tmp_path / "{batch}.weights.h5"
    saving = keras.callbacks.ModelCheckpoint(path, save_weights_only=True, save_freq=4)
    vae.fit(vectors, batch_size=9, verbose=0, callbacks=[saving])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10.weights.h5", "5.weights.h5"]
    one = small_vae(steps_per_execution=1)
    one.fit(vectors, batch_size=9, steps_per_epoch=5, verbose=0)
    other = small_vae()
    other.build((None, 12))
    other.load_weights(tmp_path / "5.weights.h5")
    for found, expected in zip(other.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.fault(280)
@pytest.mark.parametrize("error", [RuntimeError("of a callback"), KeyboardInterrupt()])
def test_an_error_in_a_program_leaves_the_count_of_the_steps_that_were_learnt(error, vectors):
    def fails(batch, logs):
        if batch == 1:
            raise error

    vae, failing = small_vae(steps_per_execution=5), keras.callbacks.LambdaCallback(on_train_batch_end=fails)
    with pytest.raises(type(error)):
        vae.fit(vectors, batch_size=9, verbose=0, callbacks=[failing])
    assert int(vae.optimizer.iterations) == 5


def test_who_stops_the_training_is_told_of_what_was_learnt(vectors):
    class Stops(Steps):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            self.model.stop_training = True

    stops, vae = Stops(), small_vae(steps_per_execution=5)
    vae.fit(vectors, batch_size=9, epochs=3, verbose=0, callbacks=[stops])
    assert [row[1] for row in stops.seen if row[0] == "end"] == list(range(5))
    assert int(vae.optimizer.iterations) == 5


def test_an_optimizer_that_counts_otherwise_keeps_its_count(vectors):
    notes = Steps()
    vae = small_vae(optimizer=keras.optimizers.Adam(gradient_accumulation_steps=4), steps_per_execution=6)
    vae.fit(vectors, batch_size=9, verbose=0, callbacks=[notes])
    assert [row[1:3] for row in notes.seen if row[0] == "end"] == [(n, 1 if n < 6 else 3) for n in range(12)]


@pytest.mark.parametrize("data", ["arrays", "batches"])
def test_keras_own_loop_names_no_step_that_there_is_not(data, vectors):
    vae, notes = small_vae(steps_per_execution=8, run_eagerly=True), []
    given = Batches(vectors, 9, 0).dataset() if data == "batches" else vectors
    ends = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: notes.append(batch))
    vae.fit(given, batch_size=9 if data == "arrays" else None, verbose=0, callbacks=[ends])
    assert notes == [7, 11]
