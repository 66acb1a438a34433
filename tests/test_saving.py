"""A model that is saved, loaded, copied or cloned is the same, and goes on as if nothing had happened."""

import copy
import warnings

import h5py
import keras
import numpy as np
import pytest
from conftest import largest_file

from bicoder import VAE, Decoder, Encoder, load
from bicoder.errors import ModelError, UsageError
from bicoder.networks import MLP, networks_in
from bicoder.runs import folder as runs
from bicoder.runs import weights
from bicoder.saving import largest_hdf5, shapes_in


@pytest.fixture
def vectors(rng):
    return rng.random((64, 12), "float32")


def small_vae(seed=0, latent_dim=3, **options):
    return VAE(Encoder(MLP((16,)), latent_dim), Decoder(MLP((16,))), seed=seed, **options)


def compiled(vae, **options):
    vae.compile(keras.optimizers.Adam(1e-2), **options)
    return vae


def same(one, other):
    """Whether two models have the same variables, those of the optimizer among them, bit for bit."""
    pairs = zip([*one.variables, *one.optimizer.variables], [*other.variables, *other.optimizer.variables], strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def reloaded(vae, folder):
    """The model from a file, without a warning."""
    vae.save(folder / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return keras.models.load_model(folder / "model.keras")


# ---- What is frozen


@pytest.mark.fault(92)
@pytest.mark.parametrize("frozen", ["encoder", "decoder.likelihood", "prior"])
def test_what_is_frozen_before_the_model_is_built_stays_as_it_is(frozen, vectors):
    vae = VAE(
        Encoder(MLP((16,)), 3), Decoder(MLP((16,)), likelihood="gaussian:sigma=learned"), prior="vamp:pseudo_inputs=5"
    )
    part = vae
    for name in frozen.split("."):
        part = getattr(part, name)
    part.trainable = False
    vae.build((None, 12))
    before = [np.array(variable) for variable in vae.weights]
    vae.train(vectors, keras.optimizers.Adam(1e-2))
    still = {id(variable) for variable in part.weights}
    assert still
    for old, variable in zip(before, vae.weights, strict=True):
        assert np.array_equal(old, variable) == (id(variable) in still), variable.path


@pytest.mark.fault(92)
def test_a_network_of_ones_own_may_be_frozen_in_part():
    own = keras.Sequential([keras.layers.Dense(8), keras.layers.Dense(6)])
    own.layers[0].trainable = False
    vae = VAE(Encoder(own, 3), Decoder(MLP((16,))))
    vae.build((None, 12))
    assert [variable.trainable for variable in vae.encoder.weights] == [False, False, True, True]


@pytest.mark.fault(92)
@pytest.mark.parametrize("case", ["frozen", "frozen after a while", "bfloat16", "own network, eagerly"])
def test_a_model_that_was_saved_is_trained_on_as_one_that_never_was(case, vectors, tmp_path):
    with networks_in("mixed_bfloat16" if case == "bfloat16" else "float32"):
        own = keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.5), keras.layers.Dense(6)])
        encoder = Encoder(own, 3) if case.startswith("own") else Encoder(MLP((16,)), 3)
        vae = VAE(encoder, Decoder(MLP((16,))), objective="beta_elbo:schedule=linear,steps=20", seed=0)
        compiled(vae, run_eagerly=case.endswith("eagerly"))
        vae.encoder.trainable = case != "frozen"
        vae.fit(vectors, batch_size=32, epochs=2, verbose=0)
        vae.encoder.trainable = not case.startswith("frozen")
    loaded = reloaded(vae, tmp_path)
    for model in (vae, loaded):
        model.fit(vectors, batch_size=32, verbose=0)
    assert same(vae, loaded)
    assert loaded.run_eagerly == case.endswith("eagerly")
    assert loaded.encoder.trainable == (not case.startswith("frozen"))
    assert loaded.encoder.body.layers[0].dtype_policy.name == vae.encoder.body.layers[0].dtype_policy.name


@pytest.mark.fault(92)
def test_three_epochs_are_two_and_one_after_loading(vectors, tmp_path):
    whole, pieces = compiled(small_vae()), compiled(small_vae())
    whole.fit(vectors, epochs=3, shuffle=False, verbose=0)
    pieces.fit(vectors, epochs=2, shuffle=False, verbose=0)
    loaded = reloaded(pieces, tmp_path)
    loaded.fit(vectors, initial_epoch=2, epochs=3, shuffle=False, verbose=0)
    assert same(whole, loaded)


@pytest.mark.fault(92)
def test_an_optimizer_that_never_ran_is_no_warning(vectors, tmp_path):
    vae = compiled(small_vae())
    vae.build((None, 12))
    assert not reloaded(vae, tmp_path).optimizer.built


# ---- Without `compile`


@pytest.mark.fault(98)
@pytest.mark.parametrize("origin", ["train", "load"])
def test_a_model_without_compile_is_saved_copied_and_cloned(origin, vectors, tmp_path):
    vae = small_vae(name="mine")
    vae.train(vectors, keras.optimizers.Adam())
    if origin == "load":
        vae = small_vae()
        vae.build((None, 12))
        runs.save_config(tmp_path, vae, {}, {})
        weights.save(tmp_path, vae)
        vae = load(tmp_path)
    for other in (reloaded(vae, tmp_path), copy.deepcopy(vae)):
        np.testing.assert_array_equal(other.reconstruct(vectors), vae.reconstruct(vectors))
        assert (other.name == "mine") == (origin == "train")
    for other in (keras.models.clone_model(vae), keras.models.model_from_json(vae.to_json())):
        assert not other.compiled
        assert [v.shape for v in other.weights] == [v.shape for v in vae.weights]


@pytest.mark.fault(98)
def test_an_encoder_is_copied(vectors):
    vae = small_vae()
    vae(vectors)
    np.testing.assert_array_equal(copy.deepcopy(vae.encoder)(vectors).mean, vae.encoder(vectors).mean)


class WithoutConfig(keras.layers.Dense):
    """A layer that cannot be saved."""

    def get_config(self):
        raise NotImplementedError("this layer has no config")


@pytest.mark.fault(98)
def test_a_save_that_fails_leaves_what_was_there(vectors, tmp_path):
    vae = VAE(Encoder(WithoutConfig(6), 3), Decoder(MLP((16,))))
    vae(vectors)
    path = tmp_path / "model.keras"
    for there in (False, True):
        if there:
            path.write_text("a good one")
        with pytest.raises(NotImplementedError):
            vae.save(path)
        assert path.exists() == there
    assert path.read_text() == "a good one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.fault(118)
@pytest.mark.parametrize("size", [0, 2000, 20_000])
def test_a_full_disk_leaves_the_model_that_was_there(size, vectors, tmp_path):
    vae, path = small_vae(), tmp_path / "model.keras"
    vae(vectors)
    vae.save(path)
    before = path.read_bytes()
    assert len(before) > 20_000
    with largest_file(size), pytest.raises(OSError, match="File too large"):
        vae.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# ---- Weights and exports


@pytest.mark.fault(118)
@pytest.mark.parametrize("size", [0, 3_000, 20_000, 48_000])
def test_a_full_disk_leaves_the_weights_that_were_there(size, vectors, tmp_path):
    vae, path = compiled(small_vae()), tmp_path / "model.weights.h5"
    vae.fit(vectors, verbose=0)
    vae.save_weights(path)
    before = path.read_bytes()
    assert len(before) > 48_000
    with largest_file(size), pytest.raises(OSError, match="File too large"):
        vae.save_weights(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    vae.load_weights(path)


@pytest.mark.parametrize(("hidden", "optimizer"), [((1,), "adam"), ((8,) * 12, "adam"), ((700, 700), "sgd")])
def test_the_room_that_weights_need_is_no_less_than_they_take(hidden, optimizer, vectors, tmp_path):
    vae = VAE(Encoder(MLP(hidden), 3), Decoder(MLP(hidden)))
    vae.compile(optimizer)
    vae.fit(vectors, verbose=0)
    vae.save_weights(tmp_path / "model.weights.h5")
    size = (tmp_path / "model.weights.h5").stat().st_size
    room = largest_hdf5(vae.variables + vae.optimizer.variables)
    assert size < room < 8 * size


def test_weights_in_many_files_and_under_other_names_are_keras_own(vectors, tmp_path):
    vae, other = small_vae(), small_vae(seed=1)
    vae(vectors)
    other(vectors)
    vae.save_weights(tmp_path / "model.weights.json", max_shard_size=1)
    other.load_weights(tmp_path / "model.weights.json")
    assert all(np.array_equal(one, two) for one, two in zip(vae.get_weights(), other.get_weights(), strict=True))
    with pytest.raises(ValueError, match=r"must end in `\.weights\.h5`"):
        vae.save_weights(tmp_path / "model.h5")


def in_another_file(file, name, array):
    file.create_dataset(name, array.shape, array.dtype, external=[("secret", 0, array.nbytes)])


def virtual(file, name, array):
    layout = h5py.VirtualLayout(array.shape, array.dtype)
    layout[:] = h5py.VirtualSource("other.h5", "x", shape=array.shape)
    file.create_virtual_dataset(name, layout)


def linked(file, name, _):
    file[name] = h5py.SoftLink("/decoder/body/layers/dense/vars/1")


def linked_to_another_file(file, name, _):
    file[name] = h5py.ExternalLink("other.h5", "x")


@pytest.mark.fault(140)
@pytest.mark.parametrize(
    ("trick", "message"),
    [
        (in_another_file, "expected 2 variables, but received 0"),
        (virtual, "expected 2 variables, but received 0"),
        (linked, r"expected shape \(12, 16\), received none"),
        (linked_to_another_file, r"expected shape \(12, 16\), received none"),
    ],
)
def test_weights_that_lead_elsewhere_are_refused_and_change_nothing(trick, message, vectors, tmp_path):
    vae, path = small_vae(), tmp_path / "model.weights.h5"
    vae(vectors)
    vae.save_weights(path)
    with h5py.File(path, "a") as file:
        name = next(name for name in shapes_in(path) if name.startswith("encoder/"))
        array = file[name][()]
        del file[name]
        trick(file, name, array)
    (tmp_path / "secret").write_bytes(np.full(array.shape, 7, array.dtype).tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.full(array.shape, 7, array.dtype)
    before = vae.get_weights()
    with pytest.raises(ModelError, match=rf"model\.weights\.h5: .*{message}"):
        vae.load_weights(path)
    assert all(np.array_equal(one, two) for one, two in zip(before, vae.get_weights(), strict=True))


@pytest.mark.fault(105, 119)
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            lambda: small_vae(latent_dim=5),
            r"weights of another model; \S+: expected shape \(3, 16\), received \(5, 16\)",
        ),
        (lambda: VAE(Encoder(MLP((16, 16)), 3), Decoder(MLP((16, 16)))), "weights of another model; .* more differ"),
    ],
)
def test_weights_of_another_model_are_refused_and_change_nothing(other, message, vectors, tmp_path):
    vae, other = compiled(small_vae()), other()
    vae.fit(vectors, verbose=0)
    other.build((None, 12))
    other.save_weights(tmp_path / "other.weights.h5")
    before = vae.get_weights()
    with pytest.raises(ModelError, match=message):
        vae.load_weights(tmp_path / "other.weights.h5")
    assert all(np.array_equal(one, two) for one, two in zip(before, vae.get_weights(), strict=True))
    with pytest.raises(UsageError, match="load_weights: the model has not seen data yet"):
        VAE().load_weights(tmp_path / "other.weights.h5")


@pytest.mark.fault(119)
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_damaged_weights_are_refused_and_change_nothing(kept, vectors, tmp_path):
    vae, other, path = small_vae(), small_vae(seed=1), tmp_path / "other.weights.h5"
    vae(vectors)
    other(vectors)
    other.save_weights(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    before = vae.get_weights()
    with pytest.raises(ModelError, match=r"other\.weights\.h5: "):
        vae.load_weights(path)
    assert all(np.array_equal(one, two) for one, two in zip(before, vae.get_weights(), strict=True))
    with pytest.raises(FileNotFoundError):
        vae.load_weights(tmp_path / "none.weights.h5")


@pytest.mark.fault(114)
def test_a_part_is_exported_by_its_model(vectors, tmp_path):
    vae = small_vae()
    vae(vectors)
    for part in (vae.encoder, vae.decoder):
        with pytest.raises(UsageError, match=rf'VAE.export\(path, what="{part.part_name()}"\)'):
            part.export(tmp_path / "model")
    assert not list(tmp_path.iterdir())
