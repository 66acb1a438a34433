"""Pictures of several runs: rate against distortion, and their bounds while they were trained."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bicoder.pictures.drawing.plotting import COLOURS, new_figure, readable, save, shortened, style_of
from bicoder.pictures.drawing.settings import with_own_settings

LONGEST = 44  # characters of a name in a legend
MOST_LINES = 8  # of one bound
IN_A_COLUMN = 26  # names of a legend
CUT = 0.9  # the share of a curve that is always in the picture: the first epochs are far above the others
STYLES = ("-", "--", "-.", ":")


class Point(NamedTuple):
    """A run or a group in the plane of rate and distortion, in nats per image; the errors may be None.

    Args:
        rate, distortion: each with its error.
        measured: whether both are those of `evaluate`; else it is drawn hollow.
    """

    rate: tuple[float, float | None]
    distortion: tuple[float, float | None]
    measured: bool


@with_own_settings
def rate_distortion(panels: Mapping[str, Mapping[str, Point]], path: Path) -> Path:
    """Rate against distortion, with lines of equal ELBO, whose distance from each other is written on them.

    Args:
        panels: what is measured -> name -> `Point`; numbers that measure different things share no axes.
        path: PNG to write.
    """
    most = max(map(len, panels.values()))
    figure = new_figure((5.6 + 3.4 * columns_of(most)) * len(panels), 6.0)
    styles = style_of_each(panels)
    for axes, (title, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name, point in points.items():
            draw_point(axes, name, point, styles[name])
        axes.set(title=readable(title), xlabel="rate, nats per image", ylabel="distortion, nats per image")
        axes.set_xlim(left=0.0)
        widen(axes, points)
        draw_iso_lines(axes)
        legend_of(axes, len(points))
    return save(figure, path)


def style_of_each(panels: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """name -> colour and mark, the same in all pictures of the same names."""
    names = dict.fromkeys(name for panel in panels.values() for name in panel)
    return {name: style_of(i) for i, name in enumerate(names)}


def draw_point(axes: Axes, name: str, point: Point, style: dict[str, Any]) -> None:
    """The mark of a run, with its errors."""
    axes.errorbar(
        *(point.rate[0], point.distortion[0], point.distortion[1], point.rate[1]),
        fmt=style["marker"],
        color=style["color"],
        markerfacecolor=style["color"] if point.measured else "white",
        markersize=9,
        capsize=3,
        # Matplotlib leaves out what begins with an underscore: a space before it.
        label=f" {readable(shortened(name, LONGEST))}",
        zorder=3,
    )


def widen(axes: Axes, points: Mapping[str, Point]) -> None:
    """Room around the points: a difference far below one nat is not made to look large."""
    rates, distortions = ([getattr(p, key)[0] for p in points.values()] for key in ("rate", "distortion"))
    axes.set_xlim(0.0, max(1.0, 1.15 * max(axes.get_xlim()[1], *rates)))
    low, high = axes.get_ylim()
    reach = max(high - low, 1.0) / 2
    middle = (min(distortions) + max(distortions)) / 2
    axes.set_ylim(min(low, middle - reach), max(high, middle + reach))


def draw_iso_lines(axes: Axes) -> None:
    """Lines rate + distortion = -ELBO at round numbers, each with its number at its upper end."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    levels = MaxNLocator(nbins=MOST_LINES).tick_values(low + left, high + right)
    for level in levels:
        start, end = max(left, level - high), min(right, level - low)
        if end - start < 0.03 * (right - left):
            continue
        axes.plot([start, end], [level - start, level - end], color="0.75", linewidth=0.8, zorder=1)
        place = start + 0.02 * (right - left)
        axes.annotate(
            f"{level:g}", (place, level - place), color="0.45", fontsize=8, clip_on=True, va="top", ha="left", zorder=2
        )
    axes.plot([], [], color="0.75", linewidth=0.8, label="equal -ELBO, rate + distortion")
    axes.set(xlim=(left, right), ylim=(low, high))


@with_own_settings
def bounds(panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], path: Path) -> Path:
    """The bound of every epoch, of all runs on top of each other.

    Args:
        panels: what is measured -> name -> the -ELBO of each epoch, of each run of that name.
        path: PNG to write.
    """
    most = max(map(len, panels.values()))
    figure = new_figure((6.4 + 3.4 * columns_of(most)) * len(panels), 5.4)
    colours = style_of_each(panels)
    for axes, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for i, (name, runs) in enumerate(curves.items()):
            for run, values in enumerate(runs):
                label = f" {readable(shortened(name, LONGEST))}" if run == 0 else None
                style = STYLES[i // len(COLOURS) % len(STYLES)]
                marker = "." if len(values) < 30 else None
                axes.plot(
                    range(1, len(values) + 1),
                    values,
                    style,
                    color=colours[name]["color"],
                    marker=marker,
                    linewidth=1.2,
                    label=label,
                )
        axes.set(title=readable(title), xlabel="epoch")
        cut = cut_above(axes, list(itertools.chain(*curves.values())))
        axes.set_ylabel("-ELBO, nats per image" + (" (first epochs are above)" if cut else ""))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        legend_of(axes, len(curves))
    return save(figure, path)


def cut_above(axes: Axes, runs: Sequence[Sequence[float]]) -> bool:
    """End the axis where all curves have come down in their first epochs; whether something is above it."""
    finite = [np.array([v for v in run if math.isfinite(v)]) for run in runs]
    finite = [run for run in finite if len(run)]
    if not finite:
        return False
    low, top = min(run.min() for run in finite), max(float(np.quantile(run, CUT)) for run in finite)
    room = 0.05 * (top - low) or 0.5
    axes.set_ylim(low - room, top + room)
    return max(run.max() for run in finite) > top + room


def legend_of(axes: Axes, count: int) -> None:
    """The names beside the picture, in letters that leave room for all of them."""
    size = 9 if count <= IN_A_COLUMN else 7
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=size, ncols=columns_of(count))


def columns_of(count: int) -> int:
    """Columns of a legend of so many names."""
    return math.ceil((count + 1) / IN_A_COLUMN)
