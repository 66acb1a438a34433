"""What is typed and means nothing: values that are none, empty texts, control characters; every option of a command."""

import pytest

from bicoder.cli import main as cli
from bicoder.cli.command import commands
from bicoder.cli.parser import parse
from bicoder.runs.options.kinds import Number, Several, Text, Whole

COMMANDS = sorted(commands())
NO_NUMBERS = ("", "nan", "inf", "-inf", "1e400", "0x10", "true", "[]", "1\n2", "\udcff", "%d")


def options(name, *kinds):
    """name -> entry, of the options of a command that take a value of these kinds."""
    table = commands()[name].options.table()
    return {name: entry for name, entry in table.items() if isinstance(entry.kind, kinds) and not entry.positional}


@pytest.fixture
def refused(capsys):
    """Function (command, *arguments) -> what it says in one line, which ends the command with 2."""

    def refuse(name, *arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            parse(commands()[name], arguments, "bicoder")
        said = capsys.readouterr().err
        assert (stop.value.code, len(said.splitlines())) == (2, 1), said
        assert said.rstrip("\n").isprintable()
        return said

    return refuse


@pytest.mark.fault(149)
@pytest.mark.parametrize("name", COMMANDS)
def test_two_dashes_are_no_value(name, refused):
    """Older Pythons make an empty list of --option=--, unchecked; newer ones give the text to the option's check."""
    for option in options(name, Whole, Number):
        assert f"--{option}: expected a" in refused(name, *["x"][name == "train" :], f"--{option}=--")


@pytest.mark.fault(150)
@pytest.mark.parametrize("name", COMMANDS)
def test_an_empty_text_is_no_value(name, refused):
    """What a shell makes of `--run_dir "$RUN"` where RUN is not set: no folder, and not the one that we are in."""
    table = commands()[name].options.table().values()
    for option, entry in options(name, Text).items():
        assert f"argument --{option}: expected {entry.kind.expected}, received ''" in refused(name, f"--{option}", "")
    if any(entry.positional and isinstance(entry.kind, (Text, Several)) for entry in table):
        first = "IMAGES" if name == "pack" else "RUN"
        assert f"argument {first}: expected a text, received ''" in refused(name, "")


@pytest.mark.fault(151)
@pytest.mark.parametrize("text", ["--ab\ncd", "--\x1b[31m", "a\r\nb", "--\udcff", "--dset\x00=x", "\u202e--dset"])
@pytest.mark.parametrize("before", [[], ["train"], ["evaluate", "run"]], ids=["none", "train", "evaluate"])
def test_what_no_terminal_shows_is_escaped(before, text, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.bicoder([*before, text])
    said = capsys.readouterr().err
    assert (stop.value.code, len(said.splitlines())) == (2, 1), said
    assert said.rstrip("\n").isprintable()


@pytest.mark.fault(152)
@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_no_number(name, refused):
    for option, entry in options(name, Whole, Number).items():
        for text in [*NO_NUMBERS, "9" * 40] if isinstance(entry.kind, Whole) else NO_NUMBERS:
            assert f"argument --{option}: expected a" in refused(name, *["x"][name == "train" :], f"--{option}={text}")
