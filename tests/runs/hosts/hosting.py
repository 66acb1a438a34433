"""Trainings on several hosts, which are processes of this machine that find each other on loopback.

    python hosting.py FOLDER HOSTS NUMBER_OF_KILLS SEED ARGUMENT...

Kills one of them at random moments, with all its processes, and starts them again until the training is done. The
others have to end by themselves, each with its line. Prints what became of each start, and whether the files are those
of a training that was never stopped.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]
BICODER = [sys.executable, "-c", "import sys; from bicoder.cli.main import bicoder; sys.exit(bicoder())"]
QUICK = ["--network", "mlp:hidden=[16]", "--latent_dim", "2", "--batch_size", "64", "--no_pictures"]
# What XLA compiles here learns for less time than it takes to compile it well.
FAST = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONPATH": str(ROOT),
}
LIMIT = 180.0  # seconds for one process, on a busy machine
TIMEOUT = 10


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def told(host, hosts, port, timeout=TIMEOUT):
    """The options that say where the others are."""
    where = ["--hosts", hosts, "--host", host, "--coordinator", f"127.0.0.1:{port}"]
    return ["--backend", "jax", *where, "--timeout", timeout]


def start(*words, env=None, cwd=None):
    """`bicoder train` as a process that somebody else could have started on another machine."""
    return subprocess.Popen(
        [*BICODER, "train", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | FAST | (env or {}),
        cwd=cwd,
    )


def train(*words, hosts=2):
    """Start all of them, with the same words."""
    port = free_port()
    return [start(*words, *told(host, hosts, port)) for host in range(hosts)]


def ended(processes, limit=LIMIT):
    """(exit code, standard output, standard error) of each process; none lives on."""
    deadline, found = time.monotonic() + limit, []
    try:
        for process in processes:
            out, error = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
            found.append((process.returncode, out, error))
    finally:
        for process in processes:
            if process.poll() is None:
                kill(process)
                process.communicate()
    return found


def kill(process):
    """Kill a process and the one that it has started, as a machine that loses its power would."""
    with contextlib.suppress(OSError):
        process.send_signal(signal.SIGSTOP)  # it shall not say why its own training has ended
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        process.kill()


def same(one, other):
    """Whether two runs have the same weights and metrics, to the last bit."""
    return all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in ("model.safetensors", "metrics.csv")
    )


def check_survivors(found, killed):
    """Each of the others has ended with code 7, and one line at its end that says why."""
    for host, (code, _, error) in enumerate(found):
        if host == killed:
            continue
        last = (error.splitlines() or [""])[-1]
        if code != 7 or not last.startswith("bicoder train: error: hosts: ") or "Stack trace" in error:
            sys.exit(f"host {host} of {len(found)} ended with {code}: {error[-3000:]}")


def main(folder, hosts, kills, seed, *arguments):
    folder, hosts, kills, rng = Path(folder), int(hosts), int(kills), random.Random(int(seed))
    whole, killed = folder / "whole", folder / "killed"
    began = time.monotonic()
    codes = [code for code, _, _ in ended(train(*arguments, "--run_dir", whole, hosts=hosts))]
    duration = time.monotonic() - began
    print(f"whole {codes} {duration:.1f} s", flush=True)
    done, over = 0, False
    while done < kills or not over:
        again = (killed / "config.json").exists()
        processes = train(
            *(["--resume", killed, "--no_pictures"] if again else [*arguments, "--run_dir", killed]), hosts=hosts
        )
        victim = None
        if done < kills:
            time.sleep(rng.uniform(0.3, 1.0) * duration)
            victim = rng.randrange(hosts)
            if any(process.poll() is not None for process in processes):  # they have come to their end
                victim = None
            else:
                kill(processes[victim])
                done += 1
        at = time.monotonic()
        found = ended(processes)
        codes = [code for code, _, _ in found]
        there = sorted(path.name for path in (killed / "checkpoints").glob("*"))
        print(
            f"{'not killed' if victim is None else f'killed {victim}'} {codes} {time.monotonic() - at:.1f} s {there}",
            flush=True,
        )
        over = victim is None
        if not over:
            check_survivors(found, victim)
        elif any(codes):
            sys.exit(f"unexpected exit codes {codes}: {found}")
        else:
            print("same" if same(whole, killed) else "different", flush=True)
            if done < kills:
                shutil.rmtree(killed)


if __name__ == "__main__":
    main(*sys.argv[1:])
