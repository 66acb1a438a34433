"""The settings that pictures are drawn with: Matplotlib's own."""

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

import matplotlib

P = ParamSpec("P")


def with_own_settings(function: Callable[P, Path]) -> Callable[P, Path]:
    """A function that draws with Matplotlib's own settings, whatever a matplotlibrc or the user's program has set.

    Theirs are back afterwards. The backend is theirs too: nothing here depends on it.
    """

    @functools.wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> Path:
        ours = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
        with matplotlib.rc_context(ours), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # a label in letters that the font lacks is drawn as boxes
            return function(*args, **kwargs)

    return draw
