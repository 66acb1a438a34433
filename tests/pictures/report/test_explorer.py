"""The explorer and the strips of the report in a browser: the codes that they decode, and their pictures."""

import numpy as np
import pytest
from keras import ops
from reports import LATENT, NAMES, SIDE, as_bytes, browser, code, idle, page, pages, pin, pinned, running, same  # noqa: F401 - fixtures

from bicoder.evaluation.paths import spherical, straight


def test_a_slider_changes_the_picture_to_what_the_decoder_gives(browser, page):
    pin(browser, 5)
    same(browser.grey(browser.one("#explored canvas")), page.decoded(page.codes[5]))
    before = code(browser)
    dimension = int(np.argmax(page.facts.dimensions.worth))
    slider = browser.all("#sliders input")[0]
    assert slider.get_attribute("id") == f"slider-{dimension}"
    label = browser.one(f"label[for=slider-{dimension}]").text
    assert label == f"z{dimension + 1} KL {page.facts.dimensions.worth[dimension]:.2f}"
    browser.press(f"#slider-{dimension}", *["right"] * 40)
    after = code(browser)
    assert after[dimension] > before[dimension] + 0.1
    others = np.arange(LATENT) != dimension
    np.testing.assert_array_equal(after[others], before[others])
    same(browser.grey(browser.one("#explored canvas")), page.decoded(after))
    assert np.abs(page.decoded(after) - page.decoded(before)).max() > 1
    assert slider.get_attribute("aria-valuetext") == f"{after[dimension]:.2f}"


def test_no_more_than_one_picture_is_decoded_in_a_frame(browser, page):
    idle(browser)
    script = """
    const [slider, done] = arguments, before = bicoder.report.decoded;
    for (let value = 0; value < 50; value++) {
      slider.value = value;
      slider.dispatchEvent(new Event("input"));
    }
    requestAnimationFrame(() => requestAnimationFrame(() => done(bicoder.report.decoded - before)));
    """
    assert browser.driver.execute_async_script(script, browser.one("#sliders input")) == 1


def test_buttons_lead_to_the_mean_code_the_prior_and_back(browser, page):
    pin(browser, 8)
    browser.click("#to-mean")
    np.testing.assert_allclose(code(browser), page.facts.dimensions.codes.mean(axis=0), atol=1e-6)
    browser.click("#to-prior")
    drawn = np.array(browser.js("return Array.from(bicoder.report.priorCodes)")).reshape(-1, LATENT)
    assert (np.abs(drawn - code(browser)).max(axis=1) == 0.0).sum() == 1
    assert browser.one("#explored-from").text == "starts from a code from the prior"
    browser.click("#to-pinned")
    np.testing.assert_allclose(code(browser), page.codes[8], atol=1e-6)
    assert browser.one("#explored-from").text == f"starts from {page.named(8)} (A)"


def test_the_plane_of_two_dimensions_moves_these_alone(browser, page):
    pin(browser, 8)
    browser.choose("#plane-across", 4)
    browser.choose("#plane-up", 1)
    browser.mouse("#pad").click().perform()
    browser.frame()
    mean = page.facts.dimensions.codes.mean(axis=0)
    expected = page.codes[8].copy()
    expected[[4, 1]] = mean[[4, 1]]
    np.testing.assert_allclose(code(browser), expected, atol=0.05)
    before = code(browser)
    browser.press("#pad", "right", "up")
    moved = code(browser) - before
    assert (moved[[4, 1]] > 0).all()
    assert np.count_nonzero(moved) == 2
    same(browser.grey(browser.one("#explored canvas")), page.decoded(code(browser)))


def test_the_plane_between_three_pins_has_their_codes_at_its_corners(browser, page):
    pin(browser, 3, 4)
    assert browser.js("return document.querySelector('#plane-kind [value=pins]').disabled")
    pin(browser, 3, 4, 5)
    browser.choose("#plane-kind", "pins")
    side = browser.js("return document.getElementById('pad').clientWidth")
    corners = browser.js("return bicoder.page.explorer.pad.plane.corners")
    for i, (x, y) in zip((3, 4, 5), corners, strict=True):
        browser.mouse("#pad", (round((x - 0.5) * side), round((y - 0.5) * side))).click().perform()
        browser.frame()
        np.testing.assert_allclose(code(browser), page.codes[i], atol=0.1)
    browser.mouse("#pad", (round(-0.49 * side), round(-0.49 * side))).click().perform()  # outside: on its edge
    browser.frame()
    corners = np.vstack([page.codes[[3, 4, 5]].T, np.ones(3)])
    weights = np.linalg.lstsq(corners, np.append(code(browser), 1.0), rcond=None)[0]
    assert weights.min() > -1e-4
    assert weights.sum() == pytest.approx(1.0, abs=1e-4)
    before = code(browser)
    browser.press("#pad", "right")
    assert (code(browser) != before).any()
    assert browser.one("#plane-said").text.count("%") == 3
    same(browser.grey(browser.one("#explored canvas")), page.decoded(code(browser)))


def test_traversals_are_of_the_image_pinned_last(browser, page):
    pin(browser, 6)
    idle(browser)
    assert not browser.one("#traversals-picture").is_displayed()
    assert browser.one("#traversals .of").text == f"{page.named(6)} (A)"
    found = page.facts.dimensions
    rows = browser.all("#traversals canvas")
    assert len(rows) == len(found.active)
    for row, number in ((0, found.active[0]), (1, found.active[1])):
        for column, away in ((0, -2.5), (5, 0.0), (10, 2.5)):
            expected = page.codes[6].copy()
            expected[number] = found.codes.mean(axis=0)[number] + away * found.codes.std(axis=0)[number]
            same(browser.grey(rows[row], column * (SIDE + 1), 0, SIDE, SIDE), page.decoded(expected))


def test_interpolations_are_the_straight_and_the_spherical_way_of_the_last_two_pins(browser, page):
    pin(browser, 1, 6, 2)
    idle(browser)
    assert not browser.one("#interpolation-picture").is_displayed()
    assert browser.one("#interpolation .of").text == f"{page.named(6)} (B) to {page.named(2)} (C)"
    rows = browser.all("#interpolation canvas")
    for row, way in zip(rows, (straight, spherical), strict=True):
        codes = way(page.codes[[6]], page.codes[[2]], 9)[0]
        for column in (0, 3, 8):
            same(browser.grey(row, (column + 1) * (SIDE + 1), 0, SIDE, SIDE), page.decoded(codes[column]))
        same(browser.grey(row, 0, 0, SIDE, SIDE), page.original(6))
        same(browser.grey(row, 10 * (SIDE + 1), 0, SIDE, SIDE), page.original(2))


def test_the_class_that_the_model_is_told_can_be_chosen(browser, pages):
    page = pages("a class")
    browser.open(page.path)
    pin(browser, 9)
    label = int(page.facts.labels[9])
    assert [option.text for option in browser.all("#class option")] == list(NAMES)
    assert browser.one("#class").get_attribute("value") == str(label)
    canvas = browser.one("#explored canvas")
    same(browser.grey(canvas), page.decoded(page.codes[9], label))
    browser.choose("#class", (label + 3) % 10)
    same(browser.grey(canvas), page.decoded(page.codes[9], (label + 3) % 10))
    assert np.abs(page.decoded(page.codes[9], label) - page.decoded(page.codes[9], (label + 3) % 10)).max() > 1
    browser.click("#to-prior")
    row = int(browser.one("#class").get_attribute("value"))
    drawn = np.array(browser.js("return Array.from(bicoder.report.priorCodes)")).reshape(-1, LATENT)
    [k] = np.flatnonzero(np.abs(drawn - code(browser)).max(axis=1) == 0.0)
    assert row == browser.js("return bicoder.report.prior.beside")[k]  # the class that this code was drawn for
    same(browser.grey(canvas), page.decoded(code(browser), row))


def test_each_view_has_its_picture(browser, pages):
    page = pages("two views")
    browser.open(page.path)
    pin(browser, 2)
    assert [caption.text for caption in browser.all("#explored figcaption")] == ["colour", "grey"]
    means = page.vae.decode(page.codes[2:3]).mean
    for canvas, view in zip(browser.all("#explored canvas"), ("colour", "grey"), strict=True):
        mean = as_bytes(ops.convert_to_numpy(means[view])[0])
        same(browser.pixels(canvas)[..., : mean.shape[2]], mean)
    idle(browser)
    assert len(browser.all("#pins canvas")) == 4
    rows = [row.text for row in browser.all("#traversals .rows > span")]
    assert rows[1].endswith(", colour")
    assert rows[2].endswith(", grey")
    assert browser.one("#plane-said").text.endswith("pictures of colour")


@pytest.mark.fault(231)
def test_what_the_page_cannot_decode_was_drawn_beforehand(browser, pages):
    page = pages("an own layer")
    browser.open(page.path)
    assert "The page cannot decode: the layer Own is not known" in browser.one("#explorer-why").text
    assert "one dimension at a time" in browser.one("#explorer-why").text
    assert not browser.one("#plane").is_displayed()
    assert not browser.one("#to-prior").is_displayed()
    assert browser.one("#traversals-picture").is_displayed()
    same(browser.grey(browser.all("#pins canvas")[1]), page.decoded(page.codes[pinned(browser)[0]]))
    found, canvas = page.facts.dimensions, browser.one("#explored canvas")
    mean, deviation = found.codes.mean(axis=0), found.codes.std(axis=0)
    same(browser.grey(canvas), page.decoded(mean))
    first, second = found.active[:2]
    browser.press(f"#slider-{first}", "right", "right")
    expected = mean.copy()
    expected[first] += deviation[first]
    same(browser.grey(canvas), page.decoded(expected))
    browser.press(f"#slider-{second}", *["left"] * 5)  # one at a time: the first goes back
    expected = mean.copy()
    expected[second] -= 2.5 * deviation[second]
    same(browser.grey(canvas), page.decoded(expected))
    assert browser.one(f"#slider-{first}").get_attribute("value") == "5"
