"""The contract's program on the real images, from an empty cache, by way of a server on loopback and wget."""

import json
import re
import shutil
import types

import numpy as np
import pytest
import tensorflow as tf
from test_main import FILES, FLAGS, names, run

from bicoder import VAE, DataLoader

pytestmark = pytest.mark.skipif(shutil.which("wget") is None, reason="needs wget")

pytestmark = pytest.mark.xla  # as users have it: it is faster


def bound(printed):
    return float(re.search(r"^test -ELBO +(-?[\d.]+)", printed, re.MULTILINE)[1])


@pytest.mark.parametrize("flag", FLAGS)
def test_the_three_commands_of_the_contract(flag, real_data, serve, tmp_path):
    """20 epochs at the default sigma = 0.75: -ELBO at most 524.5 nats per test image."""
    server = serve(real_data)
    data, folder = tmp_path / "cache", tmp_path / "run"
    places = ("--mirror", server.url, "--data_dir", data, "--run_dir", folder)
    done = run("--dset", "mnist_bw", "--epochs", "20", flag, *places, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(server.requests) == ["/mnist_bw.npy", "/mnist_bw_te.npy", "/mnist_bw_y_te.npy"]
    assert {name for name in names(data) if not name.startswith(".")} == {r[1:] for r in server.requests}
    assert names(folder) == (FILES - {"split.csv"}) | {FLAGS[flag]}
    assert 515 < bound(done.stdout) <= 524.5
    assert json.loads((folder / "config.json").read_text())["arguments"]["sigma"] == 0.75


def test_learned_sigma(real_data, tmp_path):
    """With one learned sigma, 20 epochs: -ELBO at most -610 nats per test image."""
    options = ("--dset", "mnist_bw", "--epochs", "20", "--sigma", "learned", "--generate_from_prior", "--no_download")
    done = run(*options, "--data_dir", real_data, "--run_dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert -700 < bound(done.stdout) <= -610
    assert float(re.search(r"learned sigma ([\d.]+)", done.stdout)[1]) == pytest.approx(0.102, abs=0.005)


@pytest.mark.parametrize("data", ["color_data", "zipped_color_data"])
def test_color_from_an_empty_cache(data, request, serve, tmp_path):
    server = serve(request.getfixturevalue(data))
    places = ("--mirror", server.url, "--data_dir", tmp_path / "cache", "--run_dir", tmp_path / "run")
    done = run("--dset", "mnist_color", "--view", "m2", "--epochs", "2", "--latent_points", "100", *FLAGS, *places)
    assert done.returncode == 0, done.stderr
    assert sorted(server.requests) == ["/mnist_color.pkl", "/mnist_color_te.pkl", "/mnist_color_y_te.npy"]
    assert names(tmp_path / "run") == (FILES - {"split.csv"}) | set(FLAGS.values())


@pytest.mark.parametrize("dset", ["mnist_bw", "mnist_color"])
def test_the_pseudo_code_of_the_contract(dset, real_data, color_data, monkeypatch):
    args = types.SimpleNamespace(dset=dset, epochs=1)
    monkeypatch.setenv("BICODER_DATA", str(real_data if dset == "mnist_bw" else color_data))

    my_data_loader = DataLoader(dset=args.dset)
    model = VAE()  # use default values, or pass arguments with argparse
    optimizer = tf.keras.optimizers.Adam(learning_rate=1e-3)
    tr_data = my_data_loader.get_training_data
    losses = []
    for _ in range(args.epochs):
        for _, tr_batch in enumerate(tr_data):
            loss = model.train(tr_batch, optimizer)
            losses.append(float(loss))

    assert len(losses) == {"mnist_bw": 469, "mnist_color": 8}[dset]
    assert np.mean(losses[-4:]) < losses[0] - (50 if dset == "mnist_bw" else 10)
