"""The processes that train one model together, by `jax.distributed`, and which of them writes."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder.errors import HostError, UsageError, first_line
from bicoder.runs.folder import CONFIG
from bicoder.runs.options.host_options import AUTO
from bicoder.runs.options.table import Options

if TYPE_CHECKING:
    from bicoder.vae import VAE

NOTICED = 0.8  # of --timeout: after so long a host is gone, and what is left is for the others to end
# Statuses of XLA that are no fault of this process, and collectives.
LOST = re.compile(r"(ABORTED|CANCELLED|DEADLINE_EXCEEDED|UNAVAILABLE): |.*\b(Gloo|NCCL)\b")
JOINED = "joined"  # in the log of a host, the line that says that all have come


def join(options: Options) -> None:
    """Come together with the other hosts; from now on JAX has the devices of all.

    JAX ends the process by itself if they do not come.

    Raises:
        UsageError: nobody says which hosts there are.
        HostError: they do not come, and JAX says so.
    """
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    seconds = max(1, int(NOTICED * options.timeout))
    names = ("initialization_timeout", "heartbeat_timeout_seconds", "shutdown_timeout_seconds")
    given: dict[str, Any] = dict.fromkeys(names, seconds)
    try:
        if options.hosts == AUTO:
            jax.distributed.initialize(**given)
        else:
            given |= {"num_processes": options.hosts, "process_id": options.host}
            jax.distributed.initialize(options.coordinator, cluster_detection_method="deactivate", **given)
    except ValueError as error:
        raise UsageError(
            "hosts: expected the variables of SLURM, Open MPI or Kubernetes, which say what hosts there are, received "
            "none; say --coordinator HOST:PORT --hosts N --host I"
        ) from error
    except RuntimeError as error:
        raise HostError(f"hosts: they did not come together: {first_line(error)}") from error


def count() -> int:
    """How many processes train together; 1 if nobody has asked for more."""
    jax = sys.modules.get("jax")
    return jax.process_count() if jax and jax.distributed.is_initialized() else 1


def writes() -> bool:
    """Whether this process writes what a run has, and prints: one alone, or the first of several."""
    return count() == 1 or sys.modules["jax"].process_index() == 0


def is_lost(error: Exception) -> bool:
    """Whether this is what JAX raises if another process does not answer; some of it is a plain ValueError."""
    return LOST.match(str(error)) is not None


def again(options: Options) -> str:
    """How a training goes on that has lost a host, to end a message with."""
    folder = Path(options.resume or options.run_dir or "")
    return f"; start all again with --resume {folder}" if (folder / CONFIG).exists() else "; start all again"


def share() -> None:
    """Let each of several processes have a part of every batch, and all of them the same weights."""
    import keras

    if count() > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())


def alone(folder: Path, vae: "VAE") -> "VAE":
    """The model of a run that several hosts have trained, as one process has it: the others are let go.

    Args:
        folder: of the run, with its weights.
        vae: the model as it is trained.
    """
    if count() == 1:
        return vae
    import keras

    from bicoder.runs.load import load

    leave()
    keras.distribution.set_distribution(None)
    return load(folder)


def leave() -> None:
    """Wait for the others, who have come to the same end, and part."""
    import jax

    jax.distributed.shutdown()
