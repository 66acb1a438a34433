"""Runs that are written in no time, without TensorFlow: their files, with numbers that follow from their options."""

import json
import math
import os
from pathlib import Path

from bicoder.cli import main as cli
from bicoder.cli.command import commands
from bicoder.cli.parser import parse
from bicoder.runs.train import settled
from bicoder.sweeps import children, running

PART = {"network": {"name": "mlp"}, "seed": None}
DATA = {"training_images": 70, "validation_images": 10, "test_images": 20, "shape": [4, 4, 1], "image_shape": None}
HASHES = {"label_names": [], "sha256": "a", "test_sha256": "b", "labels_sha256": None, "scaling": None, "views": None}


def sweep(*words):
    """The exit code of a sweep."""
    try:
        return cli.bicoder(["sweep", *map(str, words)])
    except SystemExit as stop:
        return stop.code


def instead_of_runs(monkeypatch):
    """The commands of runs that are written in no time, in the order in which they were started."""
    started = []
    monkeypatch.setattr(running, "PAUSE", 0.0)
    monkeypatch.setattr(children, "start", lambda words, log, cores=(): started.append(words) or begin(words, log))
    return started


class Done:
    """A command that has ended."""

    stdin = None

    def __init__(self, code=0):
        self.code = code

    def poll(self):
        return self.code

    def wait(self, limit):
        return self.code


def begin(words, log, cores=()):
    """`children.start` of a command that has ended well by then."""
    os.close(children.opened(log, words))
    if words[0] == "train":
        train(words[1:-2], Path(words[-1]))
    else:
        evaluate(Path(words[1]))
    return children.Child(Done(), log)


def train(words, run):
    """The files of a training, whose bound is best at a learning rate of 0.003 and 10 dimensions."""
    options = settled(parse(commands("train")["train"], words, "train"))
    split = {"seed": options.split_seed, "validation": options.validation, "files": None}
    config = {
        "format": 2,
        "versions": {},
        "backend": "tensorflow",
        "arguments": options.arguments(),
        "data": DATA | HASHES | {"split": split},
        "input_shape": [4, 4, 1],
        "model": {
            "encoder": {"name": "encoder"} | PART | {"posterior": {"name": "diagonal_gaussian"}},
            "decoder": {"name": "decoder"} | PART | {"likelihood": {"name": "gaussian", "sigma": "learned"}},
            "prior": options.prior,
            "objective": options.objective,
            "latent_dim": options.latent_dim,
        },
    }
    (run / "config.json").write_text(json.dumps(config))
    bound = -abs(math.log(options.learning_rate / 0.003)) - abs((options.latent_dim or 20) - 10) / 10
    rows = [bound - 1, bound, bound - 2]
    (run / "metrics.csv").write_text("epoch,val_elbo\n" + "".join(f"{i},{row}\n" for i, row in enumerate(rows, 1)))
    (run / "model.safetensors").touch()


def evaluate(run):
    """The files of an evaluation, whose numbers follow from the bound."""
    bound = max(float(line.split(",")[1]) for line in (run / "metrics.csv").read_text().splitlines()[1:])
    numbers = {"nll": -bound, "nll_standard_error": 0.1, "elbo": bound, "images": 20, "num_samples": 5, "doctor": []}
    (run / "evaluation.json").write_text(json.dumps(numbers))
    table = "".join(f"{row},{bound},{bound},{-bound},0\n" for row in range(20))
    (run / "per_image.csv").write_text(f"row,log_px_K5_seed0,elbo,distortion,rate\n{table}")
