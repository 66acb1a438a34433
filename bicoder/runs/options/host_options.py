"""What a training on several hosts can be told."""

import dataclasses
import re

from bicoder.errors import UsageError
from bicoder.runs.options.kinds import Kind, Text, Whole
from bicoder.runs.options.option import CommandOptions, option

AUTO = "auto"
MOST_HOSTS = 4096
GROUP = "several hosts (on each of them the same command, but for --host)"


class Hosts(Kind):
    """A number of hosts, or "auto"."""

    expected = f"a whole number from 1 to {MOST_HOSTS}, or {AUTO}"
    metavar = f"N|{AUTO}"

    def fits(self, value: object) -> bool:
        return value == AUTO or (type(value) is int and 1 <= value <= MOST_HOSTS)

    def parse(self, text: str) -> int | str:
        return int(text) if re.fullmatch(r"\d{1,9}", text) else text


class Address(Text):
    """HOST:PORT."""

    expected = "HOST:PORT, such as 10.0.0.1:4711"

    def __init__(self) -> None:
        super().__init__("HOST:PORT")

    def fits(self, value: object) -> bool:
        found = re.fullmatch(r"[\w.:\[\]-]{1,255}:(\d{1,5})", value) if isinstance(value, str) else None
        return found is not None and 1 <= int(found[1]) < 2**16


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostOptions(CommandOptions):
    """Where a training on several hosts finds the others. None of it is part of the run, which may go on elsewhere."""

    hosts: int | str | None = option(
        Hosts(),
        None,
        "how many processes train together; auto for what SLURM, Open MPI or Kubernetes say; JAX alone",
        "one",
        group=GROUP,
        resume=True,
        kept=False,
        repeated=False,
    )
    coordinator: str | None = option(
        Address(),
        None,
        "where host 0 listens for the others",
        "that of the cluster",
        group=GROUP,
        resume=True,
        kept=False,
        repeated=False,
    )
    host: int | None = option(
        Whole(0),
        None,
        "which of them this is; host 0 writes",
        "that of the cluster",
        group=GROUP,
        resume=True,
        kept=False,
        repeated=False,
    )
    timeout: int = option(
        Whole(5, 86400),
        120,
        "seconds after which a host that is not heard of is gone, and the others end",
        group=GROUP,
        resume=True,
        kept=False,
        repeated=False,
    )

    def check_hosts(self) -> None:
        """`UsageError` unless there are all of these or none."""
        given = [name for name in ("coordinator", "host") if getattr(self, name) is not None]
        if self.hosts in (None, AUTO):
            if given:
                hint = "leave it out" if self.hosts == AUTO else "say --hosts N too"
                with_ = f"with --hosts {AUTO}" if self.hosts == AUTO else "without --hosts"
                raise UsageError(f"{given[0]}: expected it with a number of --hosts, received it {with_}; {hint}")
            return
        if len(given) < 2:
            raise UsageError(
                f"hosts: expected --coordinator HOST:PORT and --host I with --hosts {self.hosts}, received "
                f"{' and '.join(given) or 'neither'}; add what is missing, or say --hosts {AUTO}"
            )
        if int(self.host or 0) >= int(self.hosts or 0):
            raise UsageError(f"host: expected a number from 0 to {int(self.hosts or 0) - 1}, received {self.host}")
