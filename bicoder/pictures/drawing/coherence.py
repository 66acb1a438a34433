"""How well views agree, by how many are given."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from bicoder.pictures.drawing.plotting import COLOURS, new_figure, readable, save
from bicoder.pictures.drawing.settings import with_own_settings

# Name in the numbers -> what the legend calls it, colour, shape, and how far it is moved: none shall hide another.
LINES = {
    "given": ("coherence of the others", COLOURS[0], "o-", -0.06),
    "given_product": ("the same, z of the product alone", COLOURS[4], "v:", -0.02),
    "linear": ("linear accuracy of the code", COLOURS[1], "s-", 0.02),
    "linear_product": ("the same, code of the product alone", COLOURS[3], "^:", 0.06),
}


@with_own_settings
def agreement(numbers: dict[str, Any], path: Path, title: str) -> Path:
    """Coherence and linear accuracy with their standard errors, from z ~ p(z) to all views.

    Args:
        numbers: what `evaluation.coherence.agreement` gives as "coherence".
        path: PNG to write.
        title: line above the curves.
    """
    figure = new_figure(8.0, 5.0)
    axes = figure.subplots()
    sizes = list(numbers["linear"])
    for name, (text, colour, style, aside) in LINES.items():
        if numbers.get(name):
            draw(axes, {size + aside: one for size, one in numbers[name].items()}, text, colour, style)
    draw(axes, {0.0: numbers["joint"]}, "joint coherence, all views of one z ~ p(z)", COLOURS[2], "D")
    best = np.mean([one["accuracy"] for one in numbers["classifiers"].values()])
    axes.axhline(best, color="0.35", linestyle="--", linewidth=1, label="the classifiers, on the examples themselves")
    axes.axhline(1 / numbers["classes"], color="0.35", linestyle=":", linewidth=1, label="chance, for one view")
    axes.set_xticks([0, *sizes], ["none", *map(str, sizes[:-1]), f"all {sizes[-1]}"])
    axes.set(title=readable(title), xlabel="views given", ylabel="accuracy", ylim=(-0.03, 1.03))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return save(figure, path)


def draw(axes: Axes, found: dict[float, Any], text: str, colour: Any, style: str) -> None:
    """Points with their standard errors."""
    values = [one["accuracy"] for one in found.values()]
    errors = [one["standard_error"] or 0.0 for one in found.values()]
    axes.errorbar(list(found), values, errors, fmt=style, color=colour, capsize=3, markersize=5, label=text)
