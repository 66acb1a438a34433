"""What `make logging-page` writes into docs/logging.md."""

import runpy

from conftest import ROOT

PAGE = ROOT / "docs" / "logging.md"


def test_what_a_block_prints_stands_below_it():
    with_outputs = runpy.run_path(str(ROOT / "docs" / "logging_page.py"))["with_outputs"]
    page = "# A page\n\n```python\nx = 2\nprint(x + x)\n```\n\n```text\nearlier\n```\n\n```text\nshown\n```\n"
    assert with_outputs(page) == page.replace("earlier", "4")


def test_the_page_has_the_steps_that_were_asked_for():
    """It was run: every tenth step of 90 for W&B, every hundredth of 900 for MLflow."""
    text = PAGE.read_text(encoding="utf-8")
    assert "20 rows, the last of step 170: -ELBO" in text
    assert [f"step {step}: -ELBO" in text for step in range(100, 1000, 100)] == [True] * 9
