"""Forks in place of processes, each of which would import TensorFlow for seconds."""

import os
import signal
import subprocess
import sys
import time


class Forked:
    """What `children` needs of a process, for a fork."""

    def __init__(self, number, stdin):
        self.number, self.stdin, self.code = number, stdin, None

    def poll(self):
        if self.code is None:
            done, status = os.waitpid(self.number, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if done else None
        return self.code

    def wait(self, limit=3600.0):
        deadline = time.monotonic() + limit
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a fork", limit)
            time.sleep(0.01)
        return self.code

    def kill(self):
        os.kill(self.number, signal.SIGKILL)


def forked(function, output, stdin=None, inherited=None):
    """A fork that runs a function with what it prints in a file, and ends with what that returns."""
    number = os.fork()
    if number:
        return Forked(number, inherited)
    code = 99
    try:
        if stdin is not None:
            os.setsid()
            inherited.close()
            os.dup2(stdin, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
        code = function()
    except SystemExit as leaving:
        code = leaving.code
    finally:
        sys.stdout.flush()
        os._exit(code)
