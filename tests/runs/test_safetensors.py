"""model.safetensors: names that every process gives, written whole, and read only if it is what it says."""

import contextlib
import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save, save_file

from bicoder import VAE, Decoder, Encoder
from bicoder.errors import ModelError
from bicoder.networks import MLP
from bicoder.runs import weights


def small():
    likelihood = {"name": "gaussian", "sigma": "learned"}
    vae = VAE(Encoder(MLP((3,)), 2), Decoder(MLP((3,)), likelihood=likelihood), prior="mixture_of_gaussians", seed=0)
    vae.build((None, 5))
    return vae


@pytest.fixture
def saved(tmp_path):
    vae = small()
    weights.save(tmp_path, vae)
    return tmp_path / weights.NAME, vae


def test_names_say_whose_variable_it_is(saved):
    path, vae = saved
    found = load_file(path)
    assert [name for name in sorted(found) if not name.startswith("prior/")] == [
        "decoder/00/raw_log_sigma",
        *(f"decoder/{n:02d}/{name}" for n, name in enumerate(["kernel", "bias"] * 2, 1)),
        *(f"encoder/{n:02d}/{name}" for n, name in enumerate(["kernel", "bias"] * 2)),
    ]
    assert len(found) == len(vae.weights)
    np.testing.assert_array_equal(found["encoder/02/kernel"], vae.encoder.body.layers[1].kernel)
    assert found["decoder/00/raw_log_sigma"].shape == ()


def test_names_do_not_depend_on_what_was_built_before(saved):
    small()
    assert weights.variables(small()).keys() == load_file(saved[0]).keys()


def test_it_is_known_before_it_is_read(saved):
    path, vae = saved
    found = weights.stored(path)
    assert found["encoder/00/kernel"] == weights.Stored((5, 3), "float32")
    assert weights.count(found) == sum(int(np.prod(v.shape)) for v in vae.weights)


def test_an_older_file_goes_when_the_new_one_is_whole(saved):
    path, vae = saved
    old = path.with_name(weights.OLD_NAME)
    vae.save_weights(old)
    assert weights.find(path.parent) == path
    path.unlink()
    assert weights.find(path.parent) == old
    weights.save(path.parent, vae)
    assert [found.name for found in path.parent.iterdir()] == [weights.NAME]


FULL = """
import resource, signal, sys
from pathlib import Path
import keras
from bicoder import VAE
from bicoder.runs import weights
vae = VAE(seed=1)
vae.build((None, 100))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
weights.save(Path(sys.argv[1]), vae)
"""


@pytest.mark.fault(63, 121)
def test_a_disk_that_takes_no_more(saved):
    """A limit on the size of files: what was there is there, and nothing beside it."""
    path, _ = saved
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL, path.parent], capture_output=True, text=True)
    assert "ModelError" in done.stderr.splitlines()[-1]
    assert f"{path}: cannot be written: File too large" in done.stderr
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == [weights.NAME]


def refusal(path):
    with pytest.raises(ModelError) as caught:
        weights.stored(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    return message


def with_header(header, content=b""):
    text = header if isinstance(header, bytes) else json.dumps({"__metadata__": weights.METADATA} | header).encode()
    return len(text).to_bytes(8, "little") + text + content


def entry(shape, *offsets):
    return {"encoder/00/kernel": {"dtype": "F32", "shape": shape, "data_offsets": list(offsets)}}


STRANGE = {
    "empty": b"",
    "web page": b"<!DOCTYPE html><html></html>",
    "zip": b"PK\x05\x06" + bytes(18),
    "no JSON": with_header(b"{{"),
    "endless header": (2**23 + 1).to_bytes(8, "little") + bytes(100),
    "nested": with_header(b"[" * 100_000),
    "more than there is": with_header(entry([2**40], 0, 2**42), bytes(16)),
    "shape and size": with_header(entry([5], 0, 16), bytes(16)),
    "a gap": with_header(entry([2], 8, 16), bytes(16)),
    "something behind": with_header(entry([4], 0, 16), bytes(32)),
    "negative": with_header(entry([-4], 0, 16), bytes(16)),
    "another program": save({"encoder/00/kernel": np.zeros(4)}),
    "another format": save({"encoder/00/kernel": np.zeros(4)}, {"format": "bicoder 2"}),
}


@pytest.mark.fault(69)
@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_safetensors(kind, saved):
    saved[0].write_bytes(STRANGE[kind])
    assert "expected safetensors weights, received a damaged or another file" in refusal(saved[0])


@pytest.mark.fault(69)
def test_a_file_that_has_holes_is_not_read(saved):
    """A terabyte of nothing that takes no room on the disk: its shape is known, none of it is in memory."""
    path, vae = saved
    head = with_header(entry([2**38], 0, 2**40))
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + 2**40)
    found = weights.stored(path)
    assert weights.count(found) == 2**38
    with pytest.raises(
        ModelError, match=r"encoder/00/kernel: expected float32 \(5, 3\), received float32 \(274877906944,"
    ):
        weights.read(path, found, vae)


@pytest.mark.fault(69)
def test_every_byte_may_be_another(saved, rng):
    """Other numbers cannot be told from the right ones; anything else is a `ModelError`, and never a crash."""
    path, vae = saved
    whole = path.read_bytes()
    for length in range(0, len(whole), 31):
        path.write_bytes(whole[:length])
        refusal(path)
    read = 0
    for place in rng.integers(len(whole), size=300):
        damaged = bytearray(whole)
        damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ModelError):
            weights.read(path, weights.stored(path), vae)
            read += 1
    assert 0 < read < 300


def test_a_model_is_not_touched_by_weights_that_do_not_fit(saved):
    path, vae = saved
    before = {name: np.array(variable) for name, variable in weights.variables(vae).items()}
    for name, value in (("prior/00/logits", None), ("encoder/00/kernel", np.full((5, 3), np.nan, "float32"))):
        arrays = {key: np.asarray(array + 1) for key, array in load_file(path).items()} | (
            {name: value} if value is not None else {}
        )
        if value is None:
            arrays.pop(sorted(arrays)[-1])
        save_file(arrays, path, weights.METADATA)
        with pytest.raises(ModelError):
            weights.read(path, weights.stored(path), vae)
        weights.save(path.parent, vae)
    for name, variable in weights.variables(vae).items():
        np.testing.assert_array_equal(variable, before[name])
