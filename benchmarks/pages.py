"""What the scripts of this folder write into pages of docs/, and what they say about the machine."""

import contextlib
import importlib.metadata
import os
import platform
import re
from pathlib import Path


def fill(page, name, lines):
    """Put lines between `<!-- name -->` and `<!-- end of name -->` of a page; what is outside stays."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    text = page.read_text(encoding="utf-8")
    block = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if len(block.findall(text)) != 1:
        raise SystemExit(f"{page}: expected one place between {begin!r} and {end!r}")
    new = "\n".join([begin, "", *lines, "", end])
    page.write_text(block.sub(lambda _: new, text), encoding="utf-8")


def machine():
    """Processor, cores and versions."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {name: importlib.metadata.version(name) for name in ("keras", "tensorflow", "numpy", "scikit-learn")}
    return {"processor": cpu, "cores": count, "python": platform.python_version(), "versions": versions}
