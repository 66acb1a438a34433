"""What the commands find on a machine: packages, backends, standard streams. Most of it ends before TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from bicoder.runs import checkpoints

TRAIN = [sys.executable, str(ROOT / "train_vae.py")]
BICODER = [sys.executable, "-c", "import sys; from bicoder.cli.main import bicoder; sys.exit(bicoder())"]


def run(command, *arguments, path=(), **options):
    """A command in a process of its own, with the folders of `path` first on its path."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT]))} | options.pop("env", {})
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, env=env, **options)


def one_line(done, code):
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@pytest.mark.fault(81)
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["evaluate", "--help"],
        ["generate", "--help"],
        ["train", "--help"],
        ["train", "--bad"],
    ],
    ids=" ".join,
)
def test_help_imports_nothing_large(arguments):
    code = """if True:
        import sys
        from bicoder.cli.main import bicoder
        try:
            bicoder(sys.argv[1:])
        except SystemExit:
            pass
        print(*sorted({"tensorflow", "keras", "matplotlib", "sklearn", "h5py"} & set(sys.modules)), "imported")"""
    done = run([sys.executable, "-c", code], *arguments)
    assert done.stdout.splitlines()[-1] == "imported", done.stderr


@pytest.fixture(scope="module")
def imported():
    """What a fresh process says of itself after `import_keras`."""
    code = """if True:
        import gc, sys
        from bicoder.engine.start import import_keras
        import_keras()
        print("sklearn" in sys.modules)
        print(gc.isenabled(), gc.get_freeze_count() > 100_000)
        gc.unfreeze()
        import_keras()
        print(gc.isenabled(), gc.get_freeze_count())
        from sklearn.manifold import TSNE
        print(TSNE.__module__)"""
    done = run([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_is_imported_is_not_collected(imported):
    """The collector is on again afterwards, and leaves a program alone that has imported Keras by itself."""
    assert imported[1:3] == ["True True", "True 0"]


def test_keras_is_imported_without_scikit_learn(imported):
    """Which is half of a second, for wrappers that are not used; who needs it afterwards finds it."""
    assert (imported[0], imported[3]) == ("False", "sklearn.manifold._t_sne")


def fake(folder, name, version):
    """The metadata of another version of an installed package."""
    place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.mark.fault(88)
@pytest.mark.parametrize(
    ("name", "version"), [("tensorflow", "2.15.0"), ("keras", "2.15.0"), ("numpy", "1.24.4"), ("scikit-learn", "1.0")]
)
def test_a_package_that_is_too_old(name, version, tmp_path):
    fake(tmp_path / "fake", name, version)
    said = one_line(run(TRAIN, "--run_dir", tmp_path / "run", path=[tmp_path / "fake"]), 2)
    assert f"error: {name}: expected a version >=" in said
    assert f'received {version}; run: {sys.executable} -m pip install "{name}>=' in said
    assert not (tmp_path / "run").exists()
    for command in ("evaluate", "generate"):
        assert said.split("error: ")[1] in one_line(run(BICODER, command, "x", path=[tmp_path / "fake"]), 2)


@pytest.mark.fault(88)
def test_every_package_that_is_too_old_is_named_at_once(tmp_path):
    fake(tmp_path, "keras", "3.0.0")
    fake(tmp_path, "numpy", "1.20.0")
    fake(tmp_path, "tensorflow", "99.1.0rc1")  # newer ones may be tried
    said = one_line(run(TRAIN, path=[tmp_path]), 2)
    assert "keras: expected a version >=3.12, received 3.0.0; numpy: expected a version >=1.26, received 1.20.0" in said
    assert "tensorflow" not in said


@pytest.mark.fault(82)
@pytest.mark.parametrize("missing", ["matplotlib", "packaging"])
def test_a_package_that_is_not_there(missing, tmp_path):
    """A Python whose packages are all those of this one but for one."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for entry in {
        entry for folder in map(Path, sys.path) if folder.name == "site-packages" for entry in folder.iterdir()
    }:
        if not entry.name.startswith(missing):
            (packages / entry.name).symlink_to(entry)
    said = one_line(run([sys.executable, "-S", ROOT / "train_vae.py"], path=[packages]), 2)
    assert missing in said
    assert "not installed" in said
    assert "pip install " in said


@pytest.mark.fault(88)
def test_a_backend_that_keras_does_not_have(tmp_path):
    env = {"KERAS_BACKEND": "tensorflw"}
    said = one_line(run(TRAIN, "--run_dir", tmp_path / "run", env=env), 2)
    assert "KERAS_BACKEND: expected tensorflow, jax or torch, received 'tensorflw'" in said
    assert run(TRAIN, "--version", env=env).returncode == 0
    for command in ("evaluate", "generate"):
        assert "KERAS_BACKEND" in one_line(run(BICODER, command, "x", env=env), 2)


@pytest.mark.fault(310)
@pytest.mark.parametrize("arguments", [["train", "--backend", "torch"], ["generate", "x", "--backend", "torch"]])
def test_a_backend_that_is_not_installed(arguments):
    code = """if True:
        import sys
        sys.modules["torch"] = None  # nobody can import it
        from bicoder.cli.main import bicoder
        sys.exit(bicoder(sys.argv[1:]))"""
    said = one_line(run([sys.executable, "-c", code], *arguments), 2)
    assert "backend: torch is not installed" in said
    assert "pip install torch" in said


@pytest.mark.fault(83)
@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_nobody_reads_the_output(arguments):
    """The reader is gone before the first line, as `| true` is."""
    reading, writing = os.pipe()
    os.close(reading)
    env = os.environ | {"PYTHONUNBUFFERED": ""}  # else argparse writes at once, and hides the error
    done = subprocess.run([*TRAIN, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, env=env)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.fault(83)
def test_nobody_reads_the_output_of_a_training(tmp_path):
    """`train_vae | head -2`: it saves and ends after the next line, without a word, in less than its many epochs."""
    command = [*TRAIN, "--epochs", "100000", "--run_dir", "run", "--checkpoint_epochs", "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as training:
        lines = [training.stdout.readline() for _ in range(2)]
        training.stdout.close()
        said = training.stderr.read()
        code = training.wait(60)
    assert "digits: 1,438 training and 359 test images" in lines[0]
    assert code == 141
    assert all("so far" in line for line in said.splitlines())  # of what takes more than five seconds here
    assert checkpoints.numbers(tmp_path / "run") == [1]


@pytest.mark.fault(83)
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams(closed, tmp_path):
    """A stream that the shell closed is no place for the next file that is opened."""
    done = run(["sh", "-c", f'exec "$@" {closed}', "sh", *TRAIN], "--dset", "no/such", cwd=tmp_path)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert ("not there" in done.stderr) == ("2>&-" not in closed)
    assert run(["sh", "-c", f'exec "$@" {closed}', "sh", *TRAIN], "--version").returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(87)
def test_names_that_the_locale_cannot_show(tmp_path):
    """Also in an error, and in a name with a line break."""
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii:strict"}
    said = one_line(run(TRAIN, "--dset", "grö\nße/x", env=env, cwd=tmp_path), 3)
    assert said.isascii()
    assert "not there" in said


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
    ids=["by us", "by the user", "by the user, in another way"],
)
def test_how_openmp_waits(chosen, expected):
    code = "import os; from bicoder.cli.environment import prepare; prepare(); print(os.environ.get('GOMP_SPINCOUNT'))"
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in names} | chosen
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(expected)


@pytest.mark.fault(146)
def test_a_working_directory_that_is_gone(tmp_path):
    for command in ([*TRAIN, "--dset", "digits"], [*BICODER, "generate", str(tmp_path)]):
        gone = tmp_path / "gone"
        gone.mkdir()
        code = "import os, sys; os.rmdir(os.getcwd()); os.execv(sys.argv[1], sys.argv[1:])"
        said = one_line(run([sys.executable, "-c", code], *command, cwd=gone), 2)
        assert "the working directory is gone" in said
        assert "cd to one that is there" in said


@pytest.mark.fault(128, 147)
def test_settings_of_pictures_a_home_that_cannot_be_written_and_warnings_that_are_errors(tmp_path):
    """A matplotlibrc that asks for LaTeX, a home that not even root can write, the locale C, and python -W error."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nsavefig.format: pdf\nfigure.dpi: 3\n")
    env = {"HOME": "/proc/nohome", "LC_ALL": "C", "MPLCONFIGDIR": str(tmp_path / "settings"), "PYTHONWARNINGS": "error"}
    options = ["--epochs", "1", "--network", "mlp:hidden=[16]", "--run_dir", tmp_path / "run", "--generate_from_prior"]
    done = run(TRAIN, *options, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "so far" not in line] == []
    assert (tmp_path / "run" / "prior.png").read_bytes().startswith(b"\x89PNG")
