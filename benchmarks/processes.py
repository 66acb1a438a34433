"""Processes of the benchmark of speed: sides that are timed in turn, and whole programs."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OTHERS = {"torch", "torch_compile", "jax", "pythae", "torch_nll"}  # sides that need the other environment


class Side:
    """A side of the comparison, in a process of its own, which sleeps while others are timed."""

    def __init__(self, name, others, environment=None):
        self.name, self.log = name, tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.trains = not name.endswith("_products")
        python, script = (others, "rivals.py") if name in OTHERS else (sys.executable, "tensorflow_sides.py")
        self.process = subprocess.Popen(
            [python, HERE / script, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {}),
        )

    def tell(self, **request):
        """Ask for something, without waiting for the answer."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()

    def hear(self):
        """The answer to what was asked; `SystemExit` with what the process printed where it failed."""
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"ended with {self.process.wait()}"}
        if "error" in answer:
            self.log.seek(0)
            raise SystemExit(f"{self.name}: {answer['error']}\n{self.log.read()[-3000:]}")
        return answer

    def ask(self, **request):
        self.tell(**request)
        return self.hear()

    def end(self):
        """Close its standard input, at which it ends."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()


@contextlib.contextmanager
def limited(cores):
    """Processes that are started inside have only so many cores."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if cores and before:
        os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield
    finally:
        if cores and before:
            os.sched_setaffinity(0, before)


@contextlib.contextmanager
def started(names, args, environment=None, cores=None):
    """The sides of these names, on so many cores; they are ended at the end."""
    sides = []
    try:
        with limited(cores):
            for name in names:
                sides.append(Side(name, args.others, environment))
        yield sides
    finally:
        for side in sides:
            side.end()


def time_commands(commands, rounds):
    """Seconds of whole processes, in turn."""
    seconds = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            begun = time.perf_counter()
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            seconds[name].append(time.perf_counter() - begun)
            if done.returncode:
                raise SystemExit(f"{name}: {' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr}")
    return {"seconds": seconds}
