"""The markup of what moves, as it stands without a script."""

import re
from types import SimpleNamespace

import browser
import numpy as np
import pytest

from bicoder.evaluation.latent_space import Dimensions, Plane
from bicoder.pictures.report import interactive


def facts_of(worth, active, by_kl=True, how="t-SNE of the posterior means", count=1234):
    worth = np.asarray(worth)
    codes = np.zeros((count, len(worth)), "float32")
    return SimpleNamespace(
        codes=codes,
        chosen=np.arange(count),
        plane=Plane(codes[:, :2], (), how),
        dimensions=Dimensions(codes, worth, by_kl, np.array(active)),
        subject=SimpleNamespace(views=[]),
    )


def test_each_dimension_has_a_bar_as_high_as_what_it_is_worth_and_a_number():
    html = interactive.dimensions(facts_of([0.5, 2.0, 0.0], [1, 0]))
    assert re.findall(r'data-dimension="(\d)"', html) == ["1", "0", "2"]
    heights = [float(height) for height in re.findall(r'height="([\d.]+)"', html)]
    tops = [float(top) for top in re.findall(r' y="([\d.]+)"', html)]
    assert heights == [100.0, 25.0, 1.0]  # what is worth nothing can be pressed too
    assert tops == [0.0, 75.0, 99.0]
    assert re.findall(r"<span>([\d.]+)</span>", html) == ["2.00", "0.50", "0.00"]
    assert html.count("does nothing") == 2  # z3, in what is said of it and in its title
    assert "style=" not in html


@pytest.mark.parametrize(("count", "said"), [(99, None), (120, "The first 100 of 120 are shown.")])
def test_bars_of_many_dimensions_end(count, said):
    html = interactive.dimensions(facts_of(np.linspace(1.0, 2.0, count), range(count)))
    assert html.count("<li") == min(count, 100)
    assert (said or "</p>") in html


def test_worth_that_is_no_number_is_nothing():
    html = interactive.dimensions(facts_of([np.nan, 1.0], [1]))
    assert "nan" not in html.lower()


def test_what_is_said_fits_what_is_known():
    known = facts_of([1.0, 0.0], [0], by_kl=False, how="<b>posterior means</b>")
    assert "1,234 test images: &lt;b&gt;posterior means&lt;/b&gt;." in interactive.latent_map(known)
    assert "1 of 2 dimensions of z does something, those of the highest variance first" in interactive.explorer(known)
    assert "Variance of each dimension, of the posterior means" in interactive.dimensions(known)
    assert "arc" in interactive.interpolation(known)
    one = facts_of([1.0], [0], how="means", count=1)
    assert "1 test image: means; one dimension, at heights by chance." in interactive.latent_map(one)
    assert "arc" not in interactive.interpolation(one)


@pytest.mark.parametrize(("asked", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_without_chromium_tests_of_pages_are_skipped_and_say_so_but_fail_where_it_must_be(
    asked, outcome, monkeypatch, tmp_path
):
    monkeypatch.setattr(browser, "CHROMIUM", tmp_path / "none")
    monkeypatch.setenv("BICODER_BROWSER", asked)
    with pytest.raises(outcome, match="install the packages chromium and chromium-driver"), browser.running_browser():
        pass
