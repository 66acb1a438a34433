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


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """A copy of the checkout, and what a source distribution that is built of it unpacks to."""
    source, folder = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("sdist")
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith((".git", ".coverage")):
            shutil.copy(path, source)
    for name in ("bicoder", "tests", "docs", "benchmarks"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "_build", "*.weights.h5")
        )
    build = [sys.executable, "-c", f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"]
    subprocess.run(build, check=True, cwd=source, stdout=subprocess.DEVNULL)
    [path] = folder.iterdir()
    shutil.unpack_archive(path, folder, filter="data")
    return source, folder / path.name.removesuffix(".tar.gz")


def files_of(folder):
    """The files of a folder, without what the builder writes."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if ".egg-info/" not in name and name not in ("PKG-INFO", "setup.cfg")}


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


@pytest.mark.fault(113)
def test_a_source_distribution_has_tests_that_run(unpacked):
    source, folder = unpacked
    assert files_of(source) == files_of(folder)
    tests = ["tests", "--collect-only", "--quiet"]
    collected = run(sys.executable, "-m", "pytest", *tests, "-p", "no:cacheprovider", cwd=folder)
    assert collected.returncode == 0, collected.stdout[-2000:]
    done = run(sys.executable, "-m", "pytest", "tests/test_component.py", "-p", "no:cacheprovider", cwd=folder)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.fault(113)
def test_the_package_is_a_program_too(installed, tmp_path):
    done = run(installed / "python", "-m", "bicoder", "--version", cwd=tmp_path)
    assert done.stdout.strip() == f"bicoder {bicoder.__version__}", done


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
