"""What somebody may say of hosts, and what is refused before anything begins."""

import pytest

from bicoder.cli.main import main

TWO = ["--hosts", "2", "--host", "0", "--coordinator", "127.0.0.1:4711", "--backend", "jax"]


def refused(capsys, *words):
    assert main(["--dset", "digits", "--timeout", "5", *map(str, words)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.fault(286)
def test_options_that_do_not_go_together(capsys, tmp_path):
    run = ["--run_dir", tmp_path / "run"]
    assert "add what is missing, or say --hosts auto" in refused(capsys, "--hosts", 2, *run)
    assert "received coordinator" in refused(capsys, *TWO[:2], *TWO[4:], *run)
    assert "expected a number from 0 to 1, received 2" in refused(capsys, *TWO, "--host", 2, *run)
    assert "received it without --hosts" in refused(capsys, "--host", 0)
    assert "received it with --hosts auto" in refused(capsys, "--hosts", "auto", "--host", 0)
    assert "--run_dir, the same folder on all hosts" in refused(capsys, *TWO)
    assert "film: expected it on one host" in refused(capsys, *TWO, "--film", *run)
    assert not (tmp_path / "run").exists()


@pytest.mark.fault(286)
@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_hosts_of_another_backend(backend, capsys, tmp_path):
    pytest.importorskip(backend)
    line = refused(capsys, *TWO[:-2], "--backend", backend, "--run_dir", tmp_path / "run")
    assert f"expected the backend jax, received {backend}; add --backend jax" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.fault(286)
def test_values_that_are_none(capsys):
    for words, expected in [
        (["--hosts", "0"], "a whole number from 1"),
        (["--coordinator", "10.0.0.1"], "HOST:PORT"),
        (["--timeout", "1"], "from 5"),
    ]:
        with pytest.raises(SystemExit) as leaving:
            main(words)
        assert leaving.value.code == 2
        assert expected in capsys.readouterr().err
