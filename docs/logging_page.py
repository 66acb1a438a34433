"""Run the blocks of Python of docs/logging.md, and write what they print below them; for `make logging-page`."""

import contextlib
import io
import os
import re
import tempfile
from pathlib import Path

PAGE = Path(__file__).resolve().parent / "logging.md"
BLOCK = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def with_outputs(text: str) -> str:
    """The text of a page with what each block of Python prints in the block of text that follows."""

    def run(block: re.Match[str]) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(block[1], PAGE.name, "exec"), {"__name__": "__main__"})  # noqa: S102 - it is our page
        return f"```python\n{block[1]}```\n\n```text\n{printed.getvalue()}```"

    return BLOCK.sub(run, text)


if __name__ == "__main__":
    os.environ |= {"WANDB_SILENT": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        found = with_outputs(PAGE.read_text(encoding="utf-8"))
        os.chdir(PAGE.parent)
    PAGE.write_text(found, encoding="utf-8")
