"""The command that trains a run again: the parser reads the options of the run from it."""

import json
import shlex

import pytest

from bicoder.cli.command import commands
from bicoder.cli.parser import parse
from bicoder.runs.options.command_line import command_line
from bicoder.runs.options.table import Options
from bicoder.runs.train import settled

EXAMPLES = {
    "nothing": "",
    "digits": "--dset digits --epochs 3",
    "parts": "--network mlp:hidden=[300,100],activation=tanh --objective beta_elbo:beta=2,schedule=linear",
    "a prior": "--prior mixture_of_gaussians:components=5 --posterior full_gaussian --likelihood bernoulli",
    "numbers": "--learning_rate 3e-05 --sigma learned --clip_norm 1 --image_size 64x48 --batch_size 7 --seed 5",
    "a folder": "--dset 'photos of a cat' --validation 0.2 --weights best",
    "patience": "--patience 3",
    "a split": "--split_seed 4 --seed 2",
    "flags": "--stream --skip_damaged",
    "pictures": "--traversals --generate_from_prior --num_images 9",
    "no report": "--no_report",
    "views": "--dset mnist_color --views m0,m1 --network m0=conv:filters=[8,16],m1=mlp",
    "likelihoods of views": "--dset mnist_color --views m0,m1 --likelihood m0=gaussian:sigma=0.5,m1=laplace",
    "weights of views": "--dset mnist_color --views m0,m1 --view_weights m0=1,m1=0.5 --binarize m0=static",
    "one weight for all": "--dset mnist_color --views m0,m1 --view_weights size --binarize dynamic",
    "a condition": "--condition embedding:dim=4 --dset digits",
}


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    (tmp_path / "photos of a cat").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("typed", EXAMPLES.values(), ids=EXAMPLES)
def test_the_command_gives_the_same_options(typed):
    train = commands("train")["train"]
    first = settled(parse(train, shlex.split(typed), "train"))
    line = command_line(json.loads(json.dumps(first.arguments())))
    program, command, *words = shlex.split(line)
    assert (program, command) == ("bicoder", "train")
    assert settled(parse(train, words, "train")).arguments() == first.arguments()


def test_the_command_says_no_more_than_it_must():
    first = settled(Options(dset="digits", epochs=3, seed=5))
    assert command_line(first.arguments()) == "bicoder train --epochs 3 --seed 5"
