"""One side of a comparison: a process that does what `speed.py` asks for, a line of JSON each, and sleeps in between.

It runs in two environments, so it needs nothing but NumPy.
"""

import json
import os
import sys
import time
import traceback

import numpy as np

SIGMA = 0.75
LEARNING_RATE = 1e-3


def constant(images):
    """What log p(x|z) subtracts for every example, in nats: D (log(2 pi) / 2 + log(sigma))."""
    dimensions = int(np.prod(images.shape[1:]))
    return dimensions * (0.5 * np.log(2.0 * np.pi) + np.log(SIGMA))


def peak_memory():
    """The most memory that this process has had, in bytes."""
    try:
        with open("/proc/self/status") as status:  # unlike getrusage, nothing of the process that started this one
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def serve(sides):
    """Be the side that the first argument names, until standard input ends.

    Args:
        sides: name -> class; made with (network, images, weights, batch), it has `loss(x, eps)`, the mean loss of a
            batch, and `epoch()`, which trains for one and returns its mean loss.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    make, side = sides[sys.argv[1]], None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "prepare":
                with np.load(request["weights"]) as archive:
                    weights = [archive[f"w{i}"] for i in range(len(archive.files))]
                images = np.array(np.load(request["images"], mmap_mode="r")[: request["count"]])
                side, answer = make(request["network"], images, weights, request["batch"]), {}
            elif request["do"] == "loss":
                with np.load(request["batch"]) as archive:
                    answer = {"loss": float(side.loss(archive["x"], archive["eps"]))}
            else:
                started = time.perf_counter()
                loss = side.epoch()
                answer = {"seconds": time.perf_counter() - started, "memory": peak_memory()}
                answer |= {} if loss is None else {"loss": float(loss)}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
