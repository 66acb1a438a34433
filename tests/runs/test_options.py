"""The table of options: what follows from an entry is shown by adding one to a copy of the package."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import keras
import pytest
from conftest import ROOT

from bicoder.runs.options.table import OPTIMIZERS, Options

# One line in the table: what it leads to is in the program below.
ENTRY = '    {name}: str = of_training(Choice("red", "green"), "red", "colour of the {name}"{more})\n'
PROGRAM = """if True:
    import contextlib, io, json, sys
    from pathlib import Path
    from bicoder.cli.main import bicoder, main
    from bicoder.errors import ModelError
    from bicoder.runs.config import read_config
    from bicoder.runs.options.earlier import repeated, resumed
    from bicoder.runs.options.table import Options

    def said(function, *arguments):
        '''Exit code and what is printed, output and errors.'''
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            try:
                code = function(list(arguments))
            except SystemExit as stop:
                code = stop.code
        return code, text.getvalue()

    run, found = Path("run"), {}
    train = ["--epochs", "0", "--network", "mlp:hidden=[4]", "--generate_from_prior", "--num_images", "4"]
    found["help"] = said(main, "--help")
    found["wrong"] = said(main, "--wall", "gren")
    found["train"] = said(main, *train, "--run_dir", str(run), "--wall", "green")
    found["written"] = read_config(run)["arguments"]
    found["wall"] = said(main, "--resume", str(run), "--wall", "red")
    found["roof"] = resumed(Options(resume="run", roof="green")).roof
    found["repeated"] = repeated(Options(config="run/config.json"), print).wall
    found["commands"] = said(bicoder, "--help")
    found["greet"] = said(bicoder, "greet", "--times", "2")
    found["greet help"] = said(bicoder, "greet", "--help")
    config = json.loads((run / "config.json").read_text())
    config["arguments"]["wall"] = "gren"
    (run / "config.json").write_text(json.dumps(config))
    try:
        read_config(run)
    except ModelError as error:
        found["checked"] = str(error)
    print(json.dumps(found))"""
GREET = '''"""A command that somebody adds."""

import dataclasses

from bicoder.cli.command import command
from bicoder.runs.options.kinds import Whole
from bicoder.runs.options.option import CommandOptions, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class GreetOptions(CommandOptions):
    times: int = option(Whole(1), 1, "how often")


@command
def greet(options: GreetOptions) -> None:
    """Say hello."""
    print("hello " * options.times)
'''


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a copy of the package does that has two more options and one more command."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "bicoder", folder / "bicoder", ignore=shutil.ignore_patterns("__pycache__"))
    table = folder / "bicoder" / "runs" / "options" / "table.py"
    place = "    seed: int = of_training("
    entries = ENTRY.format(name="wall", more="") + ENTRY.format(name="roof", more=", resume=True")
    table.write_text(table.read_text().replace(place, entries + place, 1))
    (folder / "bicoder" / "cli" / "commands" / "greet.py").write_text(GREET)
    env = os.environ | {"PYTHONPATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_an_option_that_is_added_is_on_the_command_line(found):
    code, text = found["help"]
    assert code == 0
    assert re.search(r"--wall \{red,green\}\s+colour of the wall \(default: red\)", text)
    code, text = found["wrong"]
    assert code == 2
    assert "--wall: expected red or green, received 'gren'; did you mean 'green'?" in text


def test_it_is_written_down_and_checked_when_it_is_read(found):
    assert found["train"][0] == 0, found["train"][1]
    assert (found["written"]["wall"], found["written"]["roof"]) == ("green", "red")
    assert "arguments.wall: expected red or green, received 'gren'; did you mean 'green'?" in found["checked"]


def test_whether_it_may_change_when_a_run_goes_on_is_as_the_entry_says(found):
    assert found["roof"] == "green"
    code, text = found["wall"]
    assert code == 2
    assert "wall 'green' is now 'red'" in text


def test_a_config_gives_its_default(found):
    assert found["repeated"] == "green"


def test_a_command_that_is_added_is_listed_and_runs(found):
    code, text = found["commands"]
    assert code == 0
    assert re.search(r"greet +Say hello\.", text)
    assert found["greet"] == [0, "hello hello \n"]
    assert re.search(r"--times N +how often \(default: 1\)", found["greet help"][1])


def test_nobody_writes_into_options():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().epochs = 3


def test_argparse_is_known_to_the_command_line_alone():
    files = [path for path in (ROOT / "bicoder").rglob("*.py") if "argparse" in path.read_text(encoding="utf-8")]
    assert {path.relative_to(ROOT / "bicoder").parts[0] for path in files} == {"cli"}


def test_the_optimizers_are_those_of_keras():
    known = {name.lower() for name, found in vars(keras.optimizers).items() if isinstance(found, type)}
    assert set(OPTIMIZERS) <= known
    assert tuple(sorted(OPTIMIZERS)) == OPTIMIZERS
