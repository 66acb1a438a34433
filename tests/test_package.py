"""The package as users get it: a wheel, installed away from the source, and its types."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest
from conftest import ROOT

import bicoder

RIGHT = f"""
from bicoder import {", ".join(bicoder.__all__)}

data: DataLoader = DataLoader("digits", batch_size=32)
vae = VAE(Encoder("mlp", latent_dim=3), Decoder("mlp", likelihood="laplace"), prior="vamp", objective="iwae", seed=1)
vae.compile("adam")
vae.fit(data.training_data, epochs=1)
print(evaluate(vae, data, num_samples=5)["nll"], load("run").generate(3, seed=0))
"""
WRONG = {
    "keyword": ("import bicoder\nbicoder.VAE(latent_dimm=3)", '"latent_dimm" for "VAE"'),
    "value": ('import bicoder\nbicoder.VAE(latent_dim="three")', '"latent_dim" to "VAE" has incompatible type'),
    "name": ("from bicoder import VEA", 'Module "bicoder" has no attribute "VEA"'),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built of a copy: the builder writes beside the source."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "bicoder", source / "bicoder", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", folder, source], check=True, cwd=folder)
    [path] = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of the programs of an environment that has the wheel, and what it needs from the one of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    programs = folder / "bin"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    pip = [sys.executable, "-m", "pip", "--python", programs / "python", "install", *options, wheel]
    subprocess.run(pip, check=True, cwd=folder)
    [packages] = folder.glob("lib/*/site-packages")
    needed = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (packages / "needed.pth").write_text("\n".join(needed))  # whose own .pth files are not read
    return programs


def run(*command, cwd):
    """A process that knows nothing of the checkout."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def test_the_wheel_holds_every_file_of_the_package(wheel):
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bicoder").rglob("*") if path.suffix != ".pyc"}
    there = {name for name in files if (ROOT / name).is_file()}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("bicoder/")}
    assert "bicoder/py.typed" in held
    assert held == there


def test_the_installed_command_trains(installed, tmp_path):
    done = run(installed / "python", "-c", "import bicoder; print(bicoder.__file__)", cwd=tmp_path)
    assert done.stdout.startswith(str(installed.parent)), done
    options = ["--dset", "digits", "--epochs", "1", "--run_dir", "run", "--generate_from_prior"]
    done = run(installed / "bicoder", "train", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "prior.png").exists()


def test_a_users_program_is_checked(installed, tmp_path):
    """By mypy, for which Keras has no types: its classes are no excuse for what a call of ours gets."""
    (tmp_path / "right.py").write_text(RIGHT)
    for name, (program, _) in WRONG.items():
        (tmp_path / f"{name}.py").write_text(program)
    mypy = [sys.executable, "-m", "mypy", "--ignore-missing-imports", "--python-executable", installed / "python"]
    done = run(*mypy, *(f"{name}.py" for name in ("right", *WRONG)), cwd=tmp_path)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(errors) == len(WRONG), done.stdout + done.stderr
    for name, (_, words) in WRONG.items():
        assert any(line.startswith(f"{name}.py:") and words in line for line in errors), done.stdout
