"""Hosts that train together have the same versions, arguments and data, or do not begin."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from bicoder.errors import UsageError
from bicoder.runs.folder import versions
from bicoder.runs.hosts import together
from bicoder.runs.options.table import Options, Settled

ELSEWHERE = ("dset", "labels", "run_dir")  # paths, which may be others on other hosts; hashes say what is there


def check_alike(options: Settled, data: Mapping[str, Any]) -> None:
    """`UsageError` on all hosts if one of them has other versions, arguments or data than the first.

    Args:
        options: of the run.
        data: what config.json says of the data; the images by their hash.
    """
    if together.count() == 1:
        return
    table, arguments = Options.table(), options.arguments()
    matter = {name: v for name, v in arguments.items() if not table[name].resume and name not in ELSEWHERE}
    check(versions() | matter | {f"data.{name}": value for name, value in data.items()})


def check(facts: Mapping[str, Any]) -> None:
    """`UsageError` on all hosts if one of them knows something else than the first.

    Args:
        facts: name -> what JSON can hold.
    """
    first, *others = gathered(json.loads(json.dumps(facts)))
    for number, found in enumerate(others, 1):
        names = [name for name in first | found if first.get(name) != found.get(name)]
        if names:
            said = ", ".join(
                f"{name} {first.get(name)!r} on host 0 and {found.get(name)!r} on host {number}" for name in names[:5]
            )
            raise UsageError(f"hosts: expected the same on all, received {said}; start all of them alike")


def gathered(facts: Any) -> list[Any]:
    """What each host knows, in their order."""
    from jax.experimental.multihost_utils import process_allgather

    text = np.frombuffer(json.dumps(facts).encode(), "uint8")
    sizes = process_allgather(np.asarray([len(text)], "int32")).reshape(-1)
    texts = process_allgather(np.pad(text, (0, int(sizes.max()) - len(text))))
    return [json.loads(one[:size].tobytes()) for one, size in zip(texts, sizes, strict=True)]
