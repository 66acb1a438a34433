"""What takes long says so, in a log too."""

import time

import pytest

from bicoder import waiting


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(waiting, "FIRST", 0.02)
    monkeypatch.setattr(waiting, "NEXT", 0.02)


@pytest.mark.fault(112)
def test_what_takes_long_is_said_again_and_again(capsys):
    with waiting.told("counting"):
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 2
    assert set(lines) == {"counting: 0 s so far"}
    time.sleep(0.05)
    assert capsys.readouterr().err == "", "it is over"


@pytest.mark.fault(112)
def test_what_is_quick_is_not_said(capsys, monkeypatch):
    monkeypatch.setattr(waiting, "FIRST", 60.0)
    with waiting.told("counting"):
        pass
    assert list(waiting.watched(range(3), "counting", 3)) == [0, 1, 2]
    with waiting.told("counting", aloud=False):
        time.sleep(0.05)
    assert capsys.readouterr() == ("", "")


@pytest.mark.fault(112)
def test_how_far_it_is(capsys):
    for _ in waiting.watched(range(3000), "counting", 3000):
        time.sleep(0.0001)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 2
    assert lines[0].startswith("counting: ")
    assert all(line.endswith(" of 3,000") for line in lines)
    for _ in waiting.watched(range(2), "counting", 2, aloud=False):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


@pytest.mark.fault(112)
def test_an_error_ends_it(capsys):
    with pytest.raises(ValueError, match="wrong"), waiting.told("counting"):
        raise ValueError("wrong")
    time.sleep(0.05)
    assert capsys.readouterr().err == ""
