"""Long trainings: memory does not grow. Not collected by the suite; `make soak` runs it.

BICODER_COLOR_DIR names a folder with the whole mnist_color.pkl, 2.8 GB; without it that part is skipped.
"""

import os
import subprocess
import sys

import pytest

# Prints the resident memory, in MB, after every epoch, and the peak at the end.
SCRIPT = """
import resource, sys
import keras
from bicoder import DataLoader, VAE

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

class Memory(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        print("epoch", epoch + 1, "resident", round(resident()), flush=True)

loader = DataLoader(sys.argv[1], data_dir=sys.argv[3] or None)
vae = VAE(seed=0)
vae.compile("adam")
data = {"x": loader.training_data, "validation_data": loader.test_data}
vae.fit(**data, epochs=int(sys.argv[2]), verbose=0, callbacks=[Memory()])
print("peak", round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10))
"""


def memory(dset, epochs, data_dir=""):
    """Resident memory in MB after every epoch of a training."""
    command = [sys.executable, "-c", SCRIPT, dset, str(epochs), data_dir]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    print(f"{dset}: {done.stdout.splitlines()[0]}, {', '.join(done.stdout.splitlines()[-2:])} MB")
    return [int(line[3]) for line in lines if line[0] == "epoch"]


@pytest.mark.timeout(3600)
def test_200_epochs_of_digits():
    found = memory("digits", 200)
    assert found[-1] < 1.02 * found[19] + 5


@pytest.mark.timeout(7200)
@pytest.mark.skipif("BICODER_COLOR_DIR" not in os.environ, reason="BICODER_COLOR_DIR is not set")
def test_20_passes_over_mnist_color():
    found = memory("mnist_color", 20, os.environ["BICODER_COLOR_DIR"])
    assert found[-1] < 1.02 * found[4] + 5
