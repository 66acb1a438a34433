"""The process that somebody has started on a host; it trains in another one, which JAX may end without a word."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bicoder.engine.start import chosen_backend
from bicoder.errors import HostError, UsageError
from bicoder.files.regular_file import regular
from bicoder.runs.config import read_config
from bicoder.runs.hosts.together import JOINED, again
from bicoder.runs.options.command_line import words_of
from bicoder.runs.options.host_options import AUTO
from bicoder.runs.options.table import Options

# With the path of this process, so that both import the same.
START = "import sys; sys.path[:] = {path!r}; from bicoder.cli.hosted import main; sys.exit(main(sys.argv[1:]))"
RANKS = ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "JOB_COMPLETION_INDEX")
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
LOOK = 0.2  # seconds between two looks at the process that trains
SAID = range(1, 8)  # exit codes before which a command has said what is wrong


def train_on_hosts(options: Options) -> None:
    """Train together with other hosts, in a process of its own, whose native messages go to a log in the run folder.

    Raises:
        UsageError: this cannot be.
        HostError: JAX has ended the training, since another host is gone or never came.
        SystemExit: the training has ended with a code of its own, and has said why.
    """
    check(options)
    log = Path(options.resume or options.run_dir or "") / f"host-{rank(options)}.log"
    descriptor = opened(log)
    began = os.fstat(descriptor).st_size
    words = words_of({name: getattr(options, name) for name in options.typed})
    try:
        process = subprocess.Popen(  # noqa: S603 - the words of the command line that this process was given
            [sys.executable, "-c", START.format(path=sys.path), str(descriptor), *words],
            stdin=subprocess.PIPE,
            pass_fds=[descriptor],
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    code, received = ended(process, options.timeout)
    if received is not None:
        raise SystemExit(128 + received)
    if code and (code in SAID or code > 128):
        raise SystemExit(code)
    if code:
        lost(options, log, began, code)


def check(options: Options) -> None:
    """`UsageError` if hosts cannot train together as they were told."""
    options.check_hosts()
    if options.resume is None and options.run_dir is None:
        raise UsageError("hosts: expected --run_dir, the same folder on all hosts, received none; add it")
    if not hasattr(os, "O_NOFOLLOW"):
        raise UsageError("hosts: expected Linux or macOS, received another system; train on one host")
    config = read_config(options.resume) if options.resume is not None else {"backend": None, "arguments": {}}
    for name in ("film", "log"):
        if getattr(options, name) or (name not in options.typed and config["arguments"].get(name)):
            raise UsageError(f"{name}: expected it on one host, received it with --hosts; leave it out")
    if options.devices not in (None, "all"):
        raise UsageError(f"devices: expected all with --hosts, received {options.devices}; leave it out")
    backend = options.backend or os.environ.get("KERAS_BACKEND") or config["backend"]
    if (found := chosen_backend(backend)) != "jax":
        raise UsageError(f"hosts: expected the backend jax, received {found}; add --backend jax")


def rank(options: Options) -> str:
    """Which host this is, as whoever has started it says."""
    if options.hosts != AUTO:
        return str(options.host)
    return next((os.environ[name] for name in RANKS if os.environ.get(name, "").isdecimal()), "0")


def opened(log: Path) -> int:
    """A descriptor of the log of a host, never through a link, after what it holds already.

    Raises:
        UsageError: it cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(log):
            return regular(str(log), flags, follow=False)
        return os.open(log, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        raise UsageError(f"{log}: cannot be written: {error.strerror or error}") from error


def ended(process: subprocess.Popen, grace: float) -> tuple[int, int | None]:
    """The exit code of a process, and the signal that this one was told to end by and has handed on, if any.

    Args:
        grace: seconds that it may take to end after a signal.
    """
    received: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        process.send_signal(number)

    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, hand_on) for number in heeded}
    last = None
    try:
        while True:
            try:
                return process.wait(LOOK), received[0] if received else None
            except subprocess.TimeoutExpired:
                if received and last is None:
                    last = time.monotonic() + grace
                if last is not None and time.monotonic() > last:
                    process.kill()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def lost(options: Options, log: Path, began: int, code: int) -> NoReturn:
    """`HostError` that says why the training has ended without a word.

    Args:
        options: of the run.
        log: of the training.
        began: how long the log was when the training began.
        code: its exit code.
    """
    with open(log, "rb") as file:
        file.seek(began)
        joined = JOINED.encode() in file.read().splitlines()
    if code == -signal.SIGKILL:
        what, then = "the training of this host was killed, as if there was too little memory", again(options)
    elif joined:
        what, then = f"another host is gone, or was not heard of for {options.timeout} s", again(options)
    else:
        where = "at the coordinator of --hosts auto" if options.hosts == AUTO else f"at {options.coordinator}"
        what = f"they did not come together {where} within {options.timeout} s"
        then = "; see that all are started and reach it"
    raise HostError(f"hosts: {what}{then}; {log} has what JAX said")
