"""Codes in the plane, beside each other for what they were made of."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from bicoder.pictures.drawing.plotting import COLOURS, names_of, new_figure, readable, save, shortened, style_of
from bicoder.pictures.drawing.settings import with_own_settings

BEHIND = "0.85"  # grey of the points of the other panels
MOST_IN_LEGEND = 30  # classes


@with_own_settings
def scatter_panels(
    panels: Mapping[str, np.ndarray],
    notes: Mapping[str, str],
    path: Path,
    title: str,
    labels: np.ndarray | None = None,
    label_names: Sequence[str] = (),
    axes_names: Sequence[str] = (),
) -> Path:
    """A panel for each set of points, coloured by label, in front of the others; the last has all, coloured by set.

    Args:
        panels: what a panel is called -> points (N, 2), in the same plane.
        notes: what a panel is called -> what else its title says.
        path: PNG to write.
        title: line above all.
        labels: whole numbers (N,) of the points of every panel, or None.
        label_names: text for every label, or () to show the numbers.
        axes_names: as `plotting.scatter` has them.
    """
    count = len(panels) + 1
    columns = min(range(min(4, math.ceil(math.sqrt(count))), 5), key=lambda number: -count % number)
    rows = math.ceil(count / columns)
    figure = new_figure(4.0 * columns + 1.6, 4.0 * rows + 0.6)
    figure.suptitle(readable(title), fontsize=12)
    every = [*figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat]
    together = np.concatenate(list(panels.values()))
    size = float(np.clip(20000 / len(together), 4, 25))
    for axes in every[len(panels) + 1 :]:
        axes.set_axis_off()
    for axes, (name, points) in zip(every, panels.items(), strict=False):
        axes.scatter(together[:, 0], together[:, 1], color=BEHIND, s=size, linewidths=0)
        by_label(axes, points, labels, label_names, size)
        prepare(axes, f"{shortened(name)}{notes.get(name, '')}", axes_names)
    by_set(every[len(panels)], panels, size)
    prepare(every[len(panels)], "all of them, by what is given", axes_names)
    if labels is not None and len(np.unique(labels)) <= MOST_IN_LEGEND:
        handles, names = every[0].get_legend_handles_labels()
        legend = figure.legend(handles, names, loc="outside right center", frameon=False, title="label")
        for handle in legend.findobj(PathCollection):
            handle.set(alpha=1.0, sizes=[50])
    return save(figure, path)


def prepare(axes: Axes, name: str, axes_names: Sequence[str]) -> None:
    """Title and axes of a panel."""
    axes.set_title(readable(name), fontsize=11)
    axes.set_aspect("equal", adjustable="box")
    if axes_names:
        axes.set(xlabel=axes_names[0], ylabel=axes_names[1])
    else:
        axes.set(xticks=[], yticks=[])


def by_label(
    axes: Axes, points: np.ndarray, labels: np.ndarray | None, label_names: Sequence[str], size: float
) -> None:
    """The points (N, 2), each label in a colour and shape of its own."""
    if labels is None:
        axes.scatter(points[:, 0], points[:, 1], color=COLOURS[0], s=size, alpha=0.7, linewidths=0)
        return
    for i, (label, name) in enumerate(names_of(labels, label_names).items()):
        # Matplotlib leaves out what begins with an underscore: a space before it.
        mine = points[labels == label]
        axes.scatter(mine[:, 0], mine[:, 1], label=f" {name}", s=size, alpha=0.8, linewidths=0, **style_of(i))


def by_set(axes: Axes, panels: Mapping[str, np.ndarray], size: float) -> None:
    """The points of every panel in a colour and shape of its own, mixed, so that none hides the others."""
    order = np.random.default_rng(0).permutation(sum(map(len, panels.values())))
    number = np.repeat(np.arange(len(panels)), [len(points) for points in panels.values()])
    together = np.concatenate(list(panels.values()))
    for part in np.array_split(order, 20):
        for i in range(len(panels)):
            mine = together[part[number[part] == i]]
            axes.scatter(mine[:, 0], mine[:, 1], s=size, alpha=0.7, linewidths=0, **style_of(i))
    handles = [axes.scatter([], [], s=50, linewidths=0, **style_of(i)) for i in range(len(panels))]
    names = [f" {readable(shortened(name))}" for name in panels]
    figure: Any = axes.figure
    figure.legend(handles, names, loc="outside lower center", ncols=6, frameon=False, title="given")
