"""`bicoder sweep`: many trainings, and which of them is the best."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder.cli.command import command, commands
from bicoder.cli.commands.several.compare import CURVES, PAGE, PLANE
from bicoder.cli.parser import parse
from bicoder.errors import MOST_RUNS, MOST_SAMPLES, BicoderError, UsageError, counted
from bicoder.runs.options.kinds import Text, Whole
from bicoder.runs.options.option import CommandOptions, option
from bicoder.runs.options.table import Options
from bicoder.runs.options.word_kinds import Rest, Words
from bicoder.waiting import say

if TYPE_CHECKING:
    from bicoder.sweeps.plan import Plan
    from bicoder.sweeps.running import Failure, Task

MOST_JOBS = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepOptions(CommandOptions):
    """What `sweep` can be told."""

    vary: tuple[tuple[str, ...], ...] | None = option(
        Words(), None, "an option of train and its values; all combinations of them are trained"
    )
    train: tuple[str, ...] | None = option(
        Rest(), None, "options of train that all runs share", "those of train", positional=True
    )
    search: tuple[tuple[str, ...], ...] | None = option(
        Words(), None, "an option of train, and LOW..HIGH or several values: the best of them on validation images"
    )
    trials: int = option(Whole(1, MOST_RUNS), 20, "runs of a search in all")
    seed: int = option(Whole(0), 0, "of the choice of trials in a search")
    jobs: int = option(Whole(1, MOST_JOBS), 1, "runs at the same time, which share the cores")
    num_samples: int = option(Whole(1, MOST_SAMPLES, "K"), 1000, "by which evaluate measures each run")
    output: str | None = option(
        Text("DIR"), None, "folder of the sweep", "runs/sweep-<dset>-<...>, the same for the same command"
    )


@command
def sweep(options: SweepOptions) -> None:
    """Train all combinations of some options, evaluate each run, and compare them.

    examples:
      bicoder sweep --vary objective elbo iwae:num_samples=5 --vary seed 0 1 2 -- --dset digits --epochs 100
          six runs, one after the other, and a table of two rows with the spread over three seeds
      bicoder sweep --vary latent_dim 2 5 10 20 --jobs 2 --output sizes -- --dset mnist_bw --no_pictures
          two at a time; the same command goes on after it was stopped or killed, and does nothing twice
      bicoder sweep --search learning_rate 1e-4..1e-2 --search latent_dim 2..32 --trials 20 -- --dset digits
          twenty runs where Optuna expects the best bound on validation images
    """
    asked = [name for name in ("vary", "search") if getattr(options, name)]
    if len(asked) != 1:
        found = "both" if asked else "neither"
        raise UsageError(f"vary: expected --vary NAME VALUE..., or --search NAME LOW..HIGH, received {found}")
    if alone := [name for name in ("trials", "seed") if name in options.typed and options.search is None]:
        raise UsageError(f"{alone[0]}: expected it with --search, received it without; leave it out")
    given = shared(options)
    failures, total = searched(options, given) if options.search else combined(options, given)
    if failures:
        raise BicoderError(f"{len(failures)} of {counted(total, 'run')} failed; the same command tries them again")


def combined(options: SweepOptions, given: Options) -> "tuple[list[Failure], int]":
    """Train all combinations of values; the runs that failed, and how many there are in all.

    Args:
        options: of the sweep.
        given: what all runs share.
    """
    from bicoder.sweeps.combinations import combinations, settings_of, varied, with_one_split
    from bicoder.sweeps.plan import Plan, opened
    from bicoder.sweeps.running import Sweep, undone

    found = varied(options.vary or (), given)
    base = with_one_split(given, [*found])
    runs = combinations(found, base)
    new = Plan(tuple(sorted(found)), settings_of(base), options.num_samples, {}, 0, {})
    if base is not given:
        say("split_seed: 0 in all runs, so that they are measured on the same images; --split_seed after -- sets it")
    with opened(folder_of(options, new), new, [run.values for run in runs]) as (folder, plan):
        tasks = [task_of(folder / plan.folder_of(run.values), run.options, options.num_samples) for run in runs]
        failures = Sweep(undone(tasks), len(tasks), options.jobs).run()
        show(folder, plan, failures)
    return failures, len(tasks)


def searched(options: SweepOptions, given: Options) -> "tuple[list[Failure], int]":
    """Train where the bound on validation images promises to be best; as `combined`."""
    from bicoder.runs.options.command_line import words_of
    from bicoder.sweeps.combinations import read, replaced, settings_of, with_values
    from bicoder.sweeps.plan import Plan, opened, write_plan
    from bicoder.sweeps.ranges import first_of, said_of_space, space_of, words_of_space
    from bicoder.sweeps.running import Sweep, Task
    from bicoder.sweeps.search import Search, check_installed, with_validation

    check_installed()
    space = space_of(options.search or (), given)
    base = with_validation(given)
    with_values(first_of(space), base)
    new = Plan(tuple(space), settings_of(base), options.num_samples, words_of_space(space), options.seed, {})
    if base is not given:
        chosen = " ".join(words_of({name: getattr(base, name) for name in ("validation", "weights")}))
        say(f"trials are chosen by validation images: {chosen}; after -- such options set it")
    say(f"searching {said_of_space(space)}")
    with opened(folder_of(options, new), new, []) as (folder, plan):

        def task(values: dict[str, str]) -> Task:
            nonlocal plan
            then, plan = plan, plan.with_runs([values])
            if plan != then:
                write_plan(folder, plan)
            one = replaced({name: read("search", name, text) for name, text in values.items()}, base)
            return task_of(folder / plan.folder_of(values), one, options.num_samples)

        search = Search(folder, space, options.trials, options.seed, options.jobs, task)
        failures = Sweep(search.tasks(), search.trials, options.jobs, search.after).run()
        show(folder, plan, failures, search.said())
    return failures, search.trials


def folder_of(options: SweepOptions, new: "Plan") -> Path:
    """The folder of a sweep, which is not among its images."""
    from bicoder.runs.folder import check_apart
    from bicoder.sweeps.plan import usual_folder

    folder = Path(options.output or usual_folder(new))
    check_apart(new.train["dset"], folder, "output")
    return folder


def shared(options: SweepOptions) -> Options:
    """The options of `train` that all runs share, as they were typed after `--`, or as a config.json has them."""
    from bicoder.runs.options.earlier import repeated
    from bicoder.sweeps.combinations import check_base

    base: Options = parse(commands("train")["train"], options.train or (), "bicoder sweep")
    check_base(base)
    if base.config is not None:
        base = dataclasses.replace(repeated(base, say), config=None, typed=base.typed - {"config"})
    return base


def task_of(folder: Path, options: Options, num_samples: int) -> "Task":
    """What is to be done for one run.

    Args:
        folder: of the run.
        options: of `train`.
        num_samples: by which it is evaluated.
    """
    from bicoder.runs.options.command_line import words_of
    from bicoder.sweeps.combinations import train_words
    from bicoder.sweeps.running import Task

    places: dict[str, Any] = {name: getattr(options, name) for name in ("data_dir", "mirror") if name in options.typed}
    return Task(folder, train_words(options), ["--num_samples", str(num_samples), *words_of(places)])


def show(folder: Path, plan: "Plan", failures: "Sequence[Failure]", notes: Sequence[str] = ()) -> None:
    """Print the table of the runs of a sweep that are done, with what is missing, and write its page.

    Args:
        folder: of the sweep.
        plan: what it is about.
        failures: of runs.
        notes: what else is said.
    """
    from bicoder.comparison import table
    from bicoder.comparison.compared import compare
    from bicoder.comparison.page import write
    from bicoder.sweeps.running import is_done

    done = [str(folder / name) for name in plan.runs if is_done(folder / name)]
    failed = {failure.folder.name for failure in failures}
    missing = [name for name in plan.runs if str(folder / name) not in done and name not in failed]
    if not done:
        return
    found = compare(done, grouped="seed" in plan.vary)
    notes = [*notes, *map(str, failures), *(f"{name} is not done; a sweep with its values does it" for name in missing)]
    found = found._replace(notes=[*found.notes, *notes])
    print(table.markdown(found), flush=True)
    print("\n".join(["", *map(str, write(found, folder / PAGE, folder / PLANE, folder / CURVES))]))
