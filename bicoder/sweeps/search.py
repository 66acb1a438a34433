"""A search by Optuna, which is asked for values and told of bounds; what it knows is one file, a line of JSON for each.

The samples of each trial have a seed of their own, from that of the search and the number of the trial, so that a
search that was killed goes on as it would have.
"""

import contextlib
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bicoder.errors import ModelError, UsageError, counted, first_line
from bicoder.files.regular_file import check_regular
from bicoder.runs.config import read_config
from bicoder.runs.folder import read_history
from bicoder.runs.options.table import Options
from bicoder.runs.train import VALIDATION
from bicoder.sweeps.combinations import replaced
from bicoder.sweeps.plan import check_no_links
from bicoder.sweeps.ranges import Range, Space
from bicoder.sweeps.running import Task, is_done
from bicoder.waiting import say

if TYPE_CHECKING:
    import optuna

NAME = "search.jsonl"
LARGEST = 2**26  # bytes; a trial has some thousand


class Search:
    """Trials of a search: runs that are asked for one after the other.

    Args:
        folder: of the sweep.
        space: what is looked through.
        trials: how many there shall be in all.
        seed: of the samples.
        jobs: how many there are at the same time.
        task: function of values, option -> as one types it, that gives the run with them.
    Raises:
        ModelError: what is known in the folder cannot be read, or is of another search.
    """

    def __init__(
        self, folder: Path, space: Space, trials: int, seed: int, jobs: int, task: Callable[[dict[str, str]], Task]
    ) -> None:
        self.space, self.seed, self.jobs, self.task_of = space, seed, jobs, task
        self.path = folder / NAME
        self.under_way: dict[Path, list[int]] = {}  # folder of a run -> trials that have its values
        self.failed: set[Path] = set()
        self.distributions = {name: distribution(one) for name, one in space.items()}
        self.study = opened_study(self.path)
        self.check()
        self.trials = max(trials, len(self.counted()))

    def check(self) -> None:
        """`ModelError` if there are trials of something else; what a kill left without all values does not count."""
        with refusing(self.path):
            for trial in self.study.get_trials(deepcopy=False):
                if trial.state == failed():
                    continue
                if not trial.state.is_finished() and trial.params.keys() < self.distributions.keys():
                    self.study.tell(trial.number, state=failed())
                elif trial.distributions != self.distributions or not self.fits(trial):
                    raise ValueError("a trial of another search")

    def fits(self, trial: "optuna.trial.FrozenTrial") -> bool:
        """Whether the values of a trial are among those that are looked through, and its bound is a number."""
        pairs = [(self.space[name], value) for name, value in trial.params.items()]
        within = all(one.low <= value <= one.high if isinstance(one, Range) else value in one for one, value in pairs)
        return within and (not trial.state.is_finished() or math.isfinite(trial.value or 0.0))

    def counted(self) -> "list[optuna.trial.FrozenTrial]":
        """The trials that have values."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state != failed()]

    def tasks(self) -> Iterator[tuple[int, Task]]:
        """The runs that are to be: those that were begun, then others as long as there are too few."""
        counted = self.counted()
        if done := sum(trial.state.is_finished() for trial in counted):
            say(f"{done} of {self.trials} trials are done already")
        for number, begun in enumerate(counted, 1):
            if not begun.state.is_finished():
                yield from self.runs_of(number, begun.number, begun.params)
        while (done := len(self.counted())) < self.trials:
            trial = self.asked(done)
            yield from self.runs_of(done + 1, trial.number, trial.params)

    def asked(self, done: int) -> "optuna.trial.Trial":
        """The next trial, after so many."""
        import optuna

        seed = int(np.random.SeedSequence([self.seed, done]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=self.jobs > 1)
        return self.study.ask(self.distributions)

    def runs_of(self, number: int, trial: int, params: dict[str, Any]) -> Iterator[tuple[int, Task]]:
        """The run of a trial, unless another trial has, or had, the same values."""
        task = self.task_of({name: text_of(self.space[name], value) for name, value in params.items()})
        trials = self.under_way.setdefault(task.folder, [])
        trials.append(trial)
        if is_done(task.folder):
            self.after(task, True)
        elif len(trials) == 1 and task.folder not in self.failed:
            yield number, task

    def after(self, task: Task, done: bool) -> None:
        """Tell of the bound of a run; one that failed is tried again by the next sweep: a disk may have been full."""
        trials = self.under_way.pop(task.folder, [])
        if not done:
            self.failed.add(task.folder)
            return
        for trial in trials:
            self.study.tell(trial, bound_of(task.folder))

    def said(self) -> list[str]:
        """Which trial is the best, in words."""
        import optuna

        done = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        if not done:
            return []
        trial = max(done, key=lambda one: one.value or 0.0)
        values = [f"{name} {text_of(self.space[name], value)}" for name, value in trial.params.items()]
        bound = f"{-(trial.value or 0.0):.2f}"
        return [
            f"The best of {counted(len(done), 'trial')} on validation images has {', '.join(values)}: -ELBO {bound} "
            "there; the numbers of the table are of test images, which choose nothing"
        ]


def text_of(one: Range | list[str], value: Any) -> str:
    """A value of Optuna as one types it."""
    return one.text_of(value) if isinstance(one, Range) else value


def distribution(one: Range | list[str]) -> "optuna.distributions.BaseDistribution":
    """What Optuna calls a range or a choice."""
    import optuna

    if not isinstance(one, Range):
        return optuna.distributions.CategoricalDistribution(one)
    if isinstance(one.low, int):
        return optuna.distributions.IntDistribution(one.low, int(one.high), log=one.log)
    return optuna.distributions.FloatDistribution(one.low, one.high, log=one.log)


def failed() -> "optuna.trial.TrialState":
    """The state of a trial that does not count."""
    import optuna

    return optuna.trial.TrialState.FAIL


def check_installed() -> None:
    """`UsageError` if Optuna is not there, or too old."""
    try:
        from optuna.storages import journal  # noqa: F401
    except ImportError:
        raise UsageError(
            f'search: needs optuna, 4 or newer; run: {sys.executable} -m pip install "optuna>=4"'
        ) from None


def opened_study(path: Path) -> "optuna.Study":
    """What is known in a file, which is made if it is not there; nothing in it is code.

    Raises:
        ModelError: it is something else, or a link.
    """
    import optuna
    from optuna.storages import JournalStorage, journal

    check_no_links(path.parent, (NAME,))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with refusing(path):
        if os.path.lexists(path):
            if check_regular(path, follow=False).st_size > LARGEST:
                raise ValueError(f"more than {LARGEST:,} bytes")
            without_half_a_line(path)
        backend = journal.JournalFileBackend(str(path), lock_obj=cast(Any, Unlocked()))
        study = optuna.create_study(
            storage=JournalStorage(backend), study_name="sweep", direction="maximize", load_if_exists=True
        )
        if study.direction != optuna.study.StudyDirection.MAXIMIZE:
            raise ValueError("something that is made smaller")
    return study


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """What Optuna raises of lines that somebody else wrote, which may be anything, as a `ModelError`."""
    try:
        yield
    except Exception as error:
        said = f"{type(error).__name__}: {first_line(error)}"
        raise ModelError(f"{path}: expected what this search knows, received something else: {said}") from error


def without_half_a_line(path: Path) -> None:
    """Remove the line that a killed process did not bring to its end."""
    with open(path, "rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


class Unlocked:
    """No lock: that of the sweep keeps others out, and Optuna's own would outlive a kill by half a minute."""

    def acquire(self) -> bool:
        """Nothing to wait for."""
        return True

    def release(self) -> None:
        """Nothing to give back."""


def with_validation(base: Options) -> Options:
    """Options with validation images, and of each run the weights that are best on them, if nobody has said so.

    Raises:
        UsageError: somebody has said that there shall be none.
    """
    if base.validation or base.weights == "best" or base.patience is not None:
        return base
    if "validation" in base.typed:
        raise UsageError("validation: expected a share of the training images, by which trials are chosen, received 0")
    new = {"validation": VALIDATION} | ({} if "weights" in base.typed else {"weights": "best"})
    return replaced(new, base)


def bound_of(run: Path) -> float:
    """The bound on validation images, in nats, of the epoch whose weights a run keeps.

    Raises:
        ModelError: it has none.
    """
    config, bounds = read_config(run), read_history(run).get("val_elbo", [])
    found = [value for value in bounds if math.isfinite(value)]
    if not found or not config["data"].get("validation_images"):
        raise ModelError(
            f"{run}: expected the bound on validation images in each epoch, received none; remove the folder"
        )
    return max(found) if config["arguments"].get("weights") == "best" else found[-1]
