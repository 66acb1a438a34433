"""`VAE.fit`: whatever data it is given, whatever has changed since the last time, and whatever calls it."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from bicoder import VAE, Decoder, Encoder
from bicoder.engine.batches import Batches, source_of
from bicoder.engine.programs.fixed import fixed_in_programs
from bicoder.engine.programs.optimizers import build_optimizer
from bicoder.errors import UsageError
from bicoder.networks import MLP


@pytest.fixture
def vectors(rng):
    return rng.random((100, 12), "float32")


def small_vae(jit_compile=False, **options):
    """A compiled model, by TensorFlow's own kernels, which are compiled sooner."""
    vae = VAE(Encoder(MLP((16,)), latent_dim=3), Decoder(MLP((16,))), seed=0, **options)
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=jit_compile)
    return vae


# ---- A program is never stale


class Stops(keras.callbacks.Callback):
    """Raises an error after the first program."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch, logs=None):
        raise self.error


def interrupted(error):
    def change(vae, x, folder):
        with pytest.raises(type(error)):
            vae.fit(x, batch_size=10, verbose=0, callbacks=[Stops(error)])

    return change


def load_other_weights(vae, x, folder):
    other = small_vae(objective={"name": "beta_elbo", "beta": 2.0})
    other.fit(x, epochs=2, verbose=0)
    other.save_weights(folder / "other.weights.h5")
    vae.load_weights(folder / "other.weights.h5")


def half_precision(vae, x, folder):
    for layer in vae.encoder.body.layers:
        layer.dtype_policy = "mixed_bfloat16"


def thaw(vae, x, folder):
    vae.encoder.trainable = False
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    vae.fit(x, verbose=0)
    vae.encoder.trainable = True


CHANGES = {
    "nothing": lambda vae, x, folder: None,
    "compile": lambda vae, x, folder: vae.compile(keras.optimizers.SGD(1e-3), jit_compile=False),
    "freeze": lambda vae, x, folder: setattr(vae.encoder, "trainable", False),
    "thaw": thaw,
    "another optimizer": lambda vae, x, folder: setattr(vae, "optimizer", keras.optimizers.SGD(1e-3)),
    "learning rate": lambda vae, x, folder: setattr(vae.optimizer, "learning_rate", 0.1),
    "clipping": lambda vae, x, folder: setattr(vae.optimizer, "clipnorm", 1e-3),
    "beta": lambda vae, x, folder: vae.objective.beta.assign(30.0),
    "beta as a number": lambda vae, x, folder: setattr(vae.objective, "beta", 30.0),
    "number of samples": lambda vae, x, folder: setattr(vae.objective, "num_samples", 3),
    "half precision": half_precision,
    "a regulariser": lambda vae, x, folder: setattr(
        vae.encoder.body.layers[0], "kernel_regularizer", keras.regularizers.L2(3.0)
    ),
    "weights": load_other_weights,
    "an exception in a callback": interrupted(RuntimeError("of a callback")),
    "Ctrl-C": interrupted(KeyboardInterrupt()),
}


def state_after(vae, x, eagerly, state):
    """All variables after an epoch that begins with a state, compiled or eagerly."""
    variables = [*vae.variables, *vae.optimizer.variables]
    for variable, value in zip(variables, state, strict=True):
        variable.assign(value)
    vae.run_eagerly = eagerly
    vae.fit(x, batch_size=50, verbose=0)
    vae.run_eagerly = False
    return [np.array(variable) for variable in variables]


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_fit_does_what_a_new_program_would(change, vectors, tmp_path):
    vae = small_vae(objective={"name": "beta_elbo", "beta": 2.0})
    vae.fit(vectors, batch_size=50, verbose=0)
    CHANGES[change](vae, vectors, tmp_path)
    build_optimizer(vae)
    state = [np.array(variable) for variable in (*vae.variables, *vae.optimizer.variables)]
    compiled = state_after(vae, vectors, False, state)
    eager = state_after(vae, vectors, True, state)
    rough = change == "half precision"
    for one, other in zip(compiled, eager, strict=True):
        np.testing.assert_allclose(one, other, rtol=0.02 if rough else 1e-4, atol=2e-3 if rough else 1e-5)
    moved = [not np.array_equal(one, other) for one, other in zip(state, compiled, strict=True)]
    assert any(moved)


def test_what_is_fixed_in_a_program_is_seen_to_change():
    vae = small_vae()
    vae.build((None, 12))
    vae.objective.factors, vae.objective.factor, vae.objective.table = [1.0], np.float32(1.0), {"a": 1}
    vae.optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(0.1, 10)
    seen = [fixed_in_programs(vae, vae.optimizer)]
    for change in (
        lambda: vae.objective.factors.append(30.0),
        lambda: setattr(vae.objective, "factor", np.float32(30.0)),
        lambda: vae.objective.table.update({"a": 2}),
        lambda: setattr(vae.optimizer._learning_rate, "initial_learning_rate", 0.2),
        lambda: setattr(vae.encoder, "trainable", False),
    ):
        assert fixed_in_programs(vae, vae.optimizer) == seen[-1]
        change()
        seen.append(fixed_in_programs(vae, vae.optimizer))
        assert seen[-1] != seen[-2]


@pytest.mark.parametrize("shape", [(40, 12), (100, 12), (7, 12)])
def test_data_of_another_length_and_batch_size(shape, vectors, rng):
    vae = small_vae()
    vae.fit(vectors, batch_size=50, verbose=0)
    steps = int(vae.optimizer.iterations)
    vae.fit(rng.random(shape, "float32"), batch_size=9, verbose=0)
    assert int(vae.optimizer.iterations) == steps + -(-shape[0] // 9)


@pytest.mark.tensorflow
def test_a_second_fit_compiles_nothing(vectors):
    vae = small_vae("auto")
    vae.fit(vectors, batch_size=30, validation_data=vectors[:50], verbose=0)
    programs = dict(vae.programs._programs)
    traces = {name: program.experimental_get_tracing_count() for name, program in programs.items()}
    vae.fit(vectors, batch_size=30, validation_data=vectors[:50], epochs=3, verbose=0)
    assert vae.programs._programs == programs
    assert {name: p.experimental_get_tracing_count() for name, p in programs.items()} == traces


@pytest.mark.fault(132)
def test_a_callback_may_compile(vectors):
    class Compiles(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.compile(keras.optimizers.SGD(0.0), jit_compile=False)

    vae = small_vae()
    vae.fit(vectors, epochs=1, verbose=0, callbacks=[Compiles()])
    assert vae.evaluate(vectors, verbose=0)[0] > 1.0
    before = vae.get_weights()
    vae.fit(vectors, epochs=2, verbose=0, callbacks=[Compiles()])
    for one, other in zip(before, vae.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# ---- Nothing is kept


def test_thirty_fits_keep_no_data(rng):
    vae, kept = small_vae(), []
    before = {id(one) for one in gc.get_objects() if isinstance(one, Batches)}
    for number in range(30):
        x = rng.random((60, 12), "float32")
        kept.append(weakref.ref(x))
        data = tf.data.Dataset.from_tensor_slices(x).batch(20) if number % 3 == 2 else x
        if number % 3 == 2:
            kept.append(weakref.ref(data))
        vae.fit(data, batch_size=20, validation_data=x if number % 3 else None, verbose=0)
        del x, data
    gc.collect()
    assert not [reference for reference in kept if reference() is not None]
    assert not [one for one in gc.get_objects() if isinstance(one, Batches) and id(one) not in before]


# ---- Data of all kinds


class Numbered(keras.utils.PyDataset):
    """Batches of an array, by their numbers."""

    def __init__(self, x, size, **options):
        super().__init__(**options)
        self.x, self.size = x, size

    @property
    def num_batches(self):
        return -(-len(self.x) // self.size)

    def __getitem__(self, number):
        return (self.x[number * self.size : (number + 1) * self.size],)


def in_batches(x, size):
    return [x[start : start + size] for start in range(0, len(x), size)]


SOURCES = {
    "tf.data": lambda x: tf.data.Dataset.from_tensor_slices(x).batch(16),
    "tf.data of tuples": lambda x: tf.data.Dataset.from_tensor_slices((x, x)).batch(16),
    "PyDataset": lambda x: Numbered(x, 16),
    "PyDataset with workers": lambda x: Numbered(x, 16, workers=2, max_queue_size=3),
    "an iterable of arrays": lambda x: Iterable(in_batches(x, 16)),
    "ours": lambda x: Batches(x, 16, 0, shuffle=False).dataset(),
    "a tensor": tf.constant,
    "float64": lambda x: x.astype("float64"),
    "a list": lambda x: x.tolist(),
}


class Iterable:
    """What has nothing but `__iter__`, as a PyTorch DataLoader of another library."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter([[batch.astype("float64")] for batch in self.batches])


@pytest.mark.parametrize("kind", SOURCES)
def test_the_same_data_in_another_form_are_learnt_in_the_same_way(kind, vectors):
    results = []
    for data in (vectors, SOURCES[kind](vectors)):
        vae = small_vae()
        held_out = vectors if isinstance(data, list) else data  # Keras takes a list for (x, y, weights)
        history = vae.fit(data, batch_size=16, epochs=2, shuffle=False, validation_data=held_out, verbose=0).history
        assert int(vae.optimizer.iterations) == 14
        results.append((history["loss"], history["val_loss"]))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)


def test_a_generator_goes_on_where_it_was(vectors):
    seen = []

    def generate():
        while True:
            for batch in in_batches(vectors, 10):
                seen.append(len(batch))
                yield batch

    vae = small_vae()
    vae.fit(generate(), steps_per_epoch=15, epochs=2, verbose=0)
    assert (int(vae.optimizer.iterations), len(seen)) == (30, 30)


@pytest.mark.fault(183)
def test_a_generator_that_ends_ends_the_training(vectors):
    vae = small_vae()
    with pytest.warns(UserWarning, match="the data ran out, training ends after 1 epochs"):
        history = vae.fit((batch for batch in in_batches(vectors, 10)), epochs=3, verbose=0)
    assert len(history.history["loss"]) == 1


def test_steps_per_epoch_take_the_next_batches_of_an_array(vectors):
    """Four batches make an epoch of the array; three epochs of three steps are two of them and a batch."""
    whole, pieces = small_vae(), small_vae()
    whole.fit(vectors, batch_size=25, epochs=2, shuffle=False, verbose=0)
    pieces.fit(vectors, batch_size=25, epochs=4, steps_per_epoch=2, shuffle=False, verbose=0)
    for one, other in zip(whole.get_weights(), pieces.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_loaders_data_begin_anew_after_a_fit_that_ended_in_an_epoch(vectors):
    data = Batches(vectors, 25, 0).dataset()
    small_vae().fit(data, steps_per_epoch=3, verbose=0)
    assert int(source_of(data).skip) == 0


def test_a_generator_loses_no_batch_if_it_runs_eagerly(vectors):
    vae = small_vae()
    vae.compile("adam", run_eagerly=True)
    vae.fit(((batch,) for batch in in_batches(vectors, 50)), verbose=0)
    assert int(vae.optimizer.iterations) == 2


def test_an_error_in_an_epoch_of_some_steps_leaves_the_loaders_data_whole(vectors):
    data = Batches(vectors, 25, 0).dataset()
    with pytest.raises(RuntimeError):
        small_vae().fit(data, steps_per_epoch=3, verbose=0, callbacks=[Stops(RuntimeError())])
    assert len(list(data)) == 4


@pytest.mark.fault(184)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": 3}, "expected arrays or an iterable"),
        ({"x": [iter(())], "validation_split": 0.1}, "validation_split: expected x to be arrays"),
        ({"x": (n for n in ())}, "expected at least one batch"),
        ({"x": np.zeros((4, 12)), "class_weight": {0: 1.0}}, "class_weight: .* expected the weight of each example"),
        (
            {"x": np.zeros((4, 12)), "y": np.zeros((3, 12))},
            r"as many y .* received .* \[3, 4\]",
        ),
        ({"x": np.zeros((0, 12))}, "x: expected at least one example"),
        ({"x": np.zeros((4, 12)), "validation_data": np.zeros((0, 12))}, "x: expected at least one example"),
        ({"x": np.zeros((4, 12)), "validation_data": np.zeros((4, 7))}, r"shape \(12,\), received \(7,\)"),
        ({"x": np.zeros(4)}, r"expected examples \(N, ...\)"),
    ],
)
def test_what_it_cannot_take_is_one_clear_error(options, message):
    with pytest.raises(UsageError, match=message):
        small_vae().fit(**options)


@pytest.mark.fault(133)
@pytest.mark.parametrize(
    "option",
    [*({"validation_split": s} for s in (1.0, 2, -1)), *({"batch_size": s} for s in (0, -1, 1.5, "32"))],
    ids=str,
)
def test_shares_and_sizes_are_what_they_say(option, vectors):
    [name] = option
    with pytest.raises(UsageError, match=f"{name}: expected a"):
        small_vae().fit(vectors, **option)


@pytest.mark.fault(97)
def test_a_split_that_leaves_nothing_is_refused(vectors):
    with pytest.raises(UsageError, match="x: expected at least one example"):
        small_vae().fit(vectors[:3], validation_split=0.9)


@pytest.mark.fault(185)
def test_a_model_that_is_not_compiled_says_so(vectors):
    with pytest.raises(UsageError, match="compile"):
        VAE().fit(vectors)


# ---- Callbacks


def test_callbacks_of_keras(vectors, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 3

    calls, rates = [], []
    callbacks = [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 * rate),
        keras.callbacks.ReduceLROnPlateau(monitor="val_loss", patience=0, min_delta=1e9, factor=0.1),
        keras.callbacks.TensorBoard(tmp_path / "board"),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: calls.append(epoch),
            on_epoch_end=lambda epoch, logs: rates.append(float(vae.optimizer.learning_rate)),
        ),
        keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        Stop(),
    ]
    vae = small_vae()
    history = vae.fit(vectors, validation_split=0.2, validation_freq=2, epochs=9, verbose=0, callbacks=callbacks)
    assert calls == [0, 1, 2, 3]
    assert rates[0] == pytest.approx(0.005)
    assert len(history.history["loss"]) == 4
    assert len(history.history["val_loss"]) == 2
    assert len(list(tmp_path.glob("*.weights.h5"))) == 4
    assert list((tmp_path / "board").rglob("*tfevents*"))


def test_early_stopping_restores_the_best_weights(vectors):
    vae, weights = small_vae(), []
    notes = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(vae.get_weights()))
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, min_delta=1e9, restore_best_weights=True)
    vae.fit(vectors, validation_split=0.2, epochs=9, verbose=0, callbacks=[notes, stop])
    assert len(weights) == 2
    for one, other in zip(vae.get_weights(), weights[0], strict=True):
        np.testing.assert_array_equal(one, other)


def test_backup_and_restore_goes_on_with_the_epoch_that_was_lost(vectors, tmp_path):
    class Fails(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("power is lost")

    vae = small_vae()
    with pytest.raises(RuntimeError, match="power"):
        vae.fit(vectors, epochs=5, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "b"), Fails()])
    other = small_vae()
    other.build((None, 12))
    backup = keras.callbacks.BackupAndRestore(tmp_path / "b")
    history = other.fit(vectors, epochs=5, verbose=0, callbacks=[backup])
    assert history.epoch == [2, 3, 4]
