"""What is too large, or too small, to be computed: numbers, counts of samples, models that no memory holds."""

import inspect
import resource
from pathlib import Path

import pytest
from conftest import contents

from bicoder.cli import main as cli
from bicoder.errors import UsageError, beyond
from bicoder.likelihoods import Likelihood
from bicoder.objectives import MIWAE, Objective
from bicoder.runs.options.kinds import Learned, Number
from bicoder.runs.options.table import Options

SMALL = ["--epochs", "1", "--latent_dim", "2", "--network", "mlp:hidden=[4]", "--no_pictures", "--quiet"]
FLOAT32 = "float32 holds sizes from 1.2e-38 to 3.4e+38"
PART_NUMBERS = [
    (name, argument)
    for name, member in Objective.members().items()
    for argument, parameter in inspect.signature(member.__init__).parameters.items()
    if isinstance(parameter.default, float)
]


@pytest.fixture
def room():
    """So many bytes more than now may this process take, and no more."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + 2**31, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.fault(156)
@pytest.mark.parametrize("text", ["1e-39", "1e-300", "5e-324"])
def test_an_option_that_float32_takes_for_zero(text, capsys):
    for option, entry in Options.table().items():
        if isinstance(entry.kind, Number):
            with pytest.raises(SystemExit, match="2"):
                cli.main([f"--{option}", text])
            assert f"--{option}: expected a" in (said := capsys.readouterr().err)
            assert FLOAT32 in said


@pytest.mark.fault(157)
@pytest.mark.parametrize("text", ["3.5e38", "1e39", "1e308"])
def test_an_option_that_float32_takes_for_infinite(text, capsys):
    for option in ("sigma", "learning_rate", "learning_rate_warmup", "weight_decay", "clip_norm", "input_noise"):
        with pytest.raises(SystemExit, match="2"):
            cli.main([f"--{option}", text])
        assert FLOAT32 in capsys.readouterr().err
    assert not Learned().fits(10**400)


@pytest.mark.fault(156, 157)
@pytest.mark.parametrize("value", [1e-46, 1e308, 10**400])
def test_an_argument_of_a_part_that_float32_does_not_hold(value):
    assert PART_NUMBERS
    for name, argument in PART_NUMBERS:
        with pytest.raises(UsageError, match=rf"^{argument}: expected a number"):
            Objective.get(name, **{argument: value})
    with pytest.raises(UsageError, match=r"^sigma: expected a positive number"):
        Likelihood.get("gaussian", sigma=value)
    assert not beyond(0.0)
    assert not beyond(3.4e38)


@pytest.mark.fault(158)
def test_more_samples_than_an_index_counts():
    """TensorFlow counts samples times images in 32 bits, and complains of a negative shape."""
    for name in ("elbo", "iwae", "ciwae", "dreg"):
        with pytest.raises(UsageError, match=r"^num_samples: expected at most 100,000, received 100,000,000$"):
            Objective.get(name, num_samples=10**8)
    for arguments in ({"bounds": 2**31 - 1}, {"samples": 10**8}, {"bounds": 1000, "samples": 1000}):
        with pytest.raises(UsageError, match=r"(samples|bounds): expected at most"):
            MIWAE(**arguments)
    assert MIWAE(1000, 100).num_samples == 100_000


@pytest.mark.fault(159)
def test_a_warmup_of_more_steps_than_there_can_be(capsys):
    """1e30 epochs were as many steps, which no tensor of whole numbers holds."""
    with pytest.raises(SystemExit, match="2"):
        cli.main(["--learning_rate_warmup", "1e30"])
    assert "expected a number from 0 to 2147483647, received '1e30'" in capsys.readouterr().err


@pytest.mark.fault(160)
def test_a_model_that_takes_more_memory_than_there_is(tmp_path, room, capsys):
    assert cli.main([*SMALL, "--network", "mlp:hidden=[60000,60000]", "--run_dir", str(tmp_path / "run")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said == (
        "train_vae: error: memory: there is too little for an array of shape (60000,60000); take a smaller network, "
        "batch or number of samples"
    )
    assert contents(tmp_path) == {}
