"""What docs/export.md says of another environment, done: one with a runtime and NumPy and nothing else.

It needs a network, or a mirror that pip knows: `make export-all`.
"""

import re
import subprocess
import sys

import pytest
from conftest import ROOT

from bicoder.cli import main as cli

PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
CODE = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def last_line(*command, folder):
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(("form", "package"), [("onnx", "onnxruntime"), ("litert", "ai-edge-litert")])
def test_the_pages_program_runs_where_there_is_nothing_else(form, package, tmp_path):
    run = tmp_path / "runs" / "my_run"
    assert cli.main(["--epochs", "2", "--no_pictures", "--quiet", "--run_dir", str(run)]) == 0
    assert cli.bicoder(["export", str(run), "--what", "decoder", "--format", form]) == 0
    [code] = [one for one in CODE if {"onnx": "onnxruntime", "litert": "ai_edge_litert"}[form] in one]
    (tmp_path / "decode.py").write_text(code)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "elsewhere"], check=True)
    python = tmp_path / "elsewhere" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", package, "numpy"], check=True)
    for other in ("tensorflow", "keras", "bicoder"):
        found = f"import importlib.util; print(importlib.util.find_spec({other!r}))"
        assert last_line(python, "-c", found, folder=tmp_path) == "None"
    assert last_line(python, "decode.py", folder=tmp_path).startswith("(3, 8, 8, 1) 0.")
