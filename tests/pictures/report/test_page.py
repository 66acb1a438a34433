"""The report in a browser: the map and its pins, that nothing leaves the page, and how it is seen."""

import http.server
import threading

import matplotlib
import numpy as np
import pytest
from reports import (  # noqa: F401 - fixtures
    COUNT,
    DESK,
    KINDS,
    LATENT,
    NAMES,
    SIDE,
    Page,
    browser,
    digits,
    idle,
    model,
    page,
    pages,
    pin,
    pinned,
    place_of,
    running,
    same,
)

from bicoder import VAE
from bicoder.pictures.drawing.plotting import COLOURS, style_of
from bicoder.pictures.picture import Subject
from bicoder.pictures.report import page as report_page
from bicoder.pictures.report.facts import Facts
from bicoder.pictures.report.kept import Kept

PHONE = 375


@pytest.fixture
def loopback():
    """A web server, its address, and what it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_the_page_is_ready_before_it_draws_what_can_wait(browser, pages):
    never = browser.send("Page.addScriptToEvaluateOnNewDocument", source="window.requestIdleCallback = () => 0")
    try:
        browser.open(pages("digits").path)
        assert browser.js("return bicoder.report.decoded") == 3  # two pins and the explorer
        assert browser.one("#traversals-picture").is_displayed()
        assert not browser.one("#traversals .rows").is_displayed()
    finally:
        browser.send("Page.removeScriptToEvaluateOnNewDocument", **never)


def test_nothing_is_asked_for_but_the_page_itself(browser, page):
    idle(browser)
    assert {address.split(":")[0] for address in browser.requests()} <= {"file", "data"}


@pytest.mark.parametrize("i", [3, 50])
def test_the_mouse_over_a_point_shows_its_image(browser, page, i):
    assert not browser.one("#tooltip").is_displayed()
    browser.mouse(place=place_of(browser, i)).perform()
    browser.wait("return bicoder.page.tooltip.of === arguments[0]", i)
    assert browser.one("#tooltip").is_displayed()
    first, *measures = browser.one("#tooltip p").text.split("\n")
    assert first == page.named(i)
    assert measures[0] == f"bound {page.facts.measures['elbo'][i]:.2f} nats"
    original, reconstruction = browser.all("#tooltip canvas")
    same(browser.grey(original), page.original(i))
    same(browser.grey(reconstruction), page.decoded(page.codes[i]))
    browser.js("scrollTo(0, 0)")
    browser.mouse("h1").perform()
    browser.wait("return document.getElementById('tooltip').hidden")


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_what_is_said_of_a_point_stays_in_the_map(browser, page, width):
    browser.size(width)
    browser.js("document.getElementById('map').focus()")
    script = """
    const [inner, outer] = ["tooltip", "map"].map(id => document.getElementById(id).getBoundingClientRect());
    return inner.height > 0 && inner.left >= outer.left - 2 && inner.right <= outer.right + 2
      && inner.top >= outer.top - 2 && inner.bottom <= outer.bottom + 2;
    """
    for i in range(0, COUNT, 5):
        browser.js("bicoder.page.map.lookAt(arguments[0])", i)
        browser.frame()
        assert browser.js(script), i


def test_a_click_pins_and_a_pin_can_be_taken_away(browser, page):
    pin(browser)
    assert browser.one("#no-pins").is_displayed()
    for i in (4, 7):
        browser.mouse(place=place_of(browser, i)).click().perform()
    assert pinned(browser) == [4, 7]
    cards = browser.all("#pins li")
    said = [card.find_element("css selector", "p").text for card in cards]
    assert [text.split("\n")[0] for text in said] == [f"A {page.named(4)}", f"B {page.named(7)}"]
    same(browser.grey(browser.all("#pins canvas")[3]), page.decoded(page.codes[7]))
    browser.all("#pins button")[0].click()
    assert pinned(browser) == [7]
    pin(browser, *range(9))  # one too many: the first goes
    assert pinned(browser) == [*range(1, 9)]
    letters = browser.js("return bicoder.page.pins.all.map(pin => pin.letter).join('')")
    assert sorted(letters) == list("ABCDEFGH")
    assert "A has gone" in browser.one("#said").text


def test_a_tap_pins_and_a_finger_scrolls_the_page_while_all_of_the_map_is_seen(browser, page):
    browser.size(PHONE, 800)
    browser.frame()
    browser.js("document.getElementById('map').scrollIntoView()")
    corner = browser.js("const box = bicoder.page.map.canvas.getBoundingClientRect(); return [box.left, box.top]")
    place = browser.js("return Array.from(bicoder.page.map.screen.slice(22, 24))")
    point = {"x": corner[0] + place[0], "y": corner[1] + place[1]}
    browser.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[point])
    browser.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    browser.wait("return bicoder.page.pins.all.at(-1).i === 11")
    style = "return getComputedStyle(document.getElementById('map')).touchAction"
    assert browser.js(style) == "pan-y"
    browser.press("#map", "+")
    assert browser.js(style) == "none"


def test_two_fingers_zoom(browser, page):
    pins = pinned(browser)
    browser.js("document.getElementById('map').scrollIntoView()")
    box = browser.js("const box = bicoder.page.map.canvas.getBoundingClientRect(); return [box.left, box.top]")
    for kind, apart in (("touchStart", 40), ("touchMove", 80), ("touchMove", 120)):
        fingers = [{"x": box[0] + 200 + side * apart, "y": box[1] + 200, "id": side} for side in (0, 1)]
        browser.send("Input.dispatchTouchEvent", type=kind, touchPoints=fingers)
    browser.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert browser.js("return bicoder.page.map.zoomed.times") == pytest.approx(3.0, rel=0.05)
    assert pinned(browser) == pins  # two fingers are no tap


def test_the_keyboard_moves_the_mark_and_pins_and_zooms(browser, page):
    mark = "return bicoder.page.map.mark"
    pin(browser, 20)
    browser.press("#map", "right")
    assert browser.js(mark) == 20  # where the last pin is
    browser.press("#map", "right")
    there = browser.js(mark)
    away = np.reshape(browser.js("return Array.from(bicoder.page.map.screen)"), (-1, 2))
    away = away - away[20]
    ahead = away[(away[:, 0] > 0.5) & (np.abs(away[:, 1]) < away[:, 0])]
    assert away[there][0] > 0.5
    assert np.hypot(*away[there]) <= 2 * np.hypot(*ahead.T).min()  # the next one, and not one far behind it
    assert browser.one("#tooltip").is_displayed()
    assert browser.one("#said").text.startswith(page.named(there))
    browser.press("#map", "up", "enter")
    assert pinned(browser) == [20, browser.js(mark)]
    assert place_of(browser, browser.js(mark))[1] < place_of(browser, there)[1]
    browser.press("#map", "+", "+")
    assert browser.js("return bicoder.page.map.zoomed.times") == pytest.approx(1.4**2)
    browser.press("#map", "-")
    assert browser.js("return bicoder.page.map.zoomed.times") == pytest.approx(1.4)
    browser.press("#map", "0", "escape")
    assert browser.js("return bicoder.page.map.zoomed") == {"times": 1, "x": 0, "y": 0}
    assert not browser.one("#tooltip").is_displayed()


def test_the_wheel_zooms_to_the_mouse_and_dragging_moves_the_map(browser, page):
    before = place_of(browser, 30)
    event = "new WheelEvent('wheel', {deltaY: -400, clientX: x, clientY: y, bubbles: true, cancelable: true})"
    script = f"""
    const box = bicoder.page.map.canvas.getBoundingClientRect(), [i] = arguments;
    const x = box.left + bicoder.page.map.screen[2 * i], y = box.top + bicoder.page.map.screen[2 * i + 1];
    bicoder.page.map.canvas.dispatchEvent({event});
    """
    browser.js(script, 30)
    browser.frame()
    assert browser.js("return bicoder.page.map.zoomed.times") == pytest.approx(np.e)
    assert np.abs(np.subtract(place_of(browser, 30), before)).max() <= 2
    pins = pinned(browser)
    browser.mouse().click_and_hold().move_by_offset(60, -40).release().perform()
    browser.frame()
    assert np.abs(np.subtract(place_of(browser, 30), before) - (60, -40)).max() <= 6
    assert pinned(browser) == pins  # a drag is no click


def test_a_search_finds_the_number_of_an_image(browser, page):
    browser.press("#search", str(page.number(17)), "enter")
    assert pinned(browser)[-1] == 17
    assert browser.one("#tooltip").is_displayed()
    browser.one("#search").clear()
    browser.press("#search", "90000")
    browser.click("#find")
    assert browser.one("#said").text == "No image “90000” among the 90 of the map"
    assert pinned(browser)[-1] == 17


def test_the_20_worst_are_those_of_the_lowest_bound(browser, page):
    browser.click("#worst")
    expected = np.argsort(page.facts.measures["elbo"], kind="stable")[:20]
    assert browser.js("return bicoder.page.map.worst") == expected.tolist()
    buttons = browser.all("#listed .strip button")
    assert len(buttons) == 20
    idle(browser)
    same(browser.grey(browser.one("#listed canvas")), page.original(expected[0]))
    buttons[2].click()
    assert pinned(browser)[-1] == expected[2]
    browser.click("#worst")
    assert not browser.one("#listed").is_displayed()
    assert browser.js("return bicoder.page.map.worst.length") == 0


def test_a_bar_of_a_dimension_colours_the_map(browser, page):
    bars = browser.all("#kl button")
    order = np.argsort(-page.facts.dimensions.worth, kind="stable").tolist()
    assert [int(bar.get_attribute("data-dimension")) for bar in bars] == order
    heights = [float(bar.get_attribute("height")) for bar in browser.all("#kl rect")]
    assert heights[0] == 100.0
    assert heights == sorted(heights, reverse=True)
    bars[1].click()
    browser.frame()
    assert [bar.get_attribute("aria-pressed") for bar in bars] == ["false", "true", *["false"] * (LATENT - 2)]
    assert browser.one("#colour").get_attribute("value") == f"dimension-{order[1]}"
    levels = np.array(browser.js("return bicoder.page.map.colouring.of"))
    values = page.codes[:, order[1]]
    assert (np.diff(levels[np.argsort(values)]) >= 0).all()
    assert (levels.min(), levels.max()) == (0, 64)
    bars[1].click()
    assert browser.one("#colour").get_attribute("value") == "label"


def test_classes_have_the_colours_and_shapes_of_the_other_pictures(browser, page):
    styles = browser.js("return bicoder.page.map.colouring.styles")
    assert [style["name"] for style in styles] == list(NAMES)
    for i, style in enumerate(styles):
        assert style["colour"] == matplotlib.colors.to_hex(style_of(i)["color"])
    corners = {"o": 24, "^": 3, "s": 4, "X": 12, "v": 3, "P": 12, "D": 4, "*": 10, "<": 3, ">": 3}
    assert [len(style["shape"]) for style in styles] == [corners[style_of(i)["marker"]] for i in range(len(COLOURS))]
    i = int(np.argmax(page.facts.labels == 0))
    x, y = browser.js("const [i] = arguments; return Array.from(bicoder.page.map.screen.slice(2 * i, 2 * i + 2))", i)
    assert [button.text for button in browser.all("#legend button")] == list(NAMES)
    browser.all("#legend button")[0].click()
    pixel = browser.pixels(browser.one("#map"), int(x), int(y), 1, 1)[0, 0, :3]
    assert np.abs(pixel - 255 * np.array(matplotlib.colors.to_rgb(COLOURS[0]))).max() < 60
    assert browser.js("return bicoder.page.map.only") == 0


def test_measures_have_the_colours_of_viridis(browser, page):
    browser.choose("#colour", "measure-0")
    styles = browser.js("return bicoder.page.map.colouring.styles.map(style => style.colour)")[:65]
    seen = np.array([[int(number) for number in colour[4:-1].split()] for colour in styles])
    expected = 255 * matplotlib.colormaps["viridis"](np.linspace(0.0, 1.0, 65))[:, :3]
    assert np.abs(seen - expected).max() <= 5  # of 255: between some of its colours
    assert browser.one("#legend").text.startswith("bound, nats: ")


def test_a_code_of_two_dimensions_has_axes_with_numbers(browser, pages):
    page = pages("two dimensions")
    browser.open(page.path)
    opacity = browser.pixels(browser.one("#map"), 0, 0, 40, 500)[..., 3]
    assert (opacity.max(axis=1) > 0).sum() > 20  # rows with ink beside the axis
    script = "const { map } = bicoder.page; return [0, 1].map(axis => map.onScreen(axis, arguments[axis]))"
    expected = browser.js(script, *page.codes[0].tolist())
    seen = browser.js("return Array.from(bicoder.page.map.screen.slice(0, 2))")
    np.testing.assert_allclose(seen, expected, atol=0.01)
    assert browser.js("return bicoder.page.colours.first") == "measure-0"


@pytest.mark.parametrize("kind", KINDS)
def test_a_phone_needs_no_scrolling_sideways(browser, pages, kind):
    browser.size(PHONE, 800, 2)
    browser.open(pages(kind).path)
    browser.js("for (const one of document.querySelectorAll('details')) one.open = true")
    browser.click("#worst")
    pin(browser, 1, 2, 3)
    browser.frame()
    assert browser.js("return document.documentElement.scrollWidth") <= PHONE
    script = """
    return [...document.querySelectorAll("body *")].filter(one => one.offsetParent && !one.closest(".scroll, .legend")
      && one.getBoundingClientRect().right > innerWidth + 1).map(one => `${one.tagName} ${one.id} ${one.className}`);
    """
    assert browser.js(script) == []


def test_dark_and_light_pages_can_be_read(browser, page):
    def contrast():
        script = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
        light = []
        for colour in browser.js(script):
            channels = np.array([int(one) for one in colour[4:-1].split(",")]) / 255.0
            linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
            light.append(linear @ [0.2126, 0.7152, 0.0722] + 0.05)
        return light[0] / light[1]

    assert contrast() < 1 / 10
    browser.dark()
    browser.frame()
    assert contrast() > 10
    browser.wait("return bicoder.page.map.inks.panel.trim() === '#16181b'")


def test_everything_can_be_reached_by_the_keyboard(browser, page):
    browser.js("document.activeElement.blur(); scrollTo(0, 0)")
    reached = set()
    for _ in range(80):
        browser.press("body", "tab") if not reached else browser.driver.switch_to.active_element.send_keys("\ue004")
        reached.add(browser.js("return document.activeElement.id || document.activeElement.closest('[id]')?.id || ''"))
    dimension = int(np.argmax(page.facts.dimensions.worth))
    controls = {"colour", "worst", "search", "find", "nearer", "farther", "whole", "map", "legend", "pins", "pad", "kl"}
    assert controls | {f"slider-{dimension}", "to-mean", "to-prior", "plane-kind"} <= reached


def test_what_is_no_text_has_a_name(browser, page):
    script = """
    const texts = one => [one.getAttribute("aria-label"), one.textContent, one.labels?.[0]?.textContent];
    const named = one => texts(one).some(text => text?.trim());
    return [...document.querySelectorAll("button, input, select, canvas[role]")].filter(one => !named(one))
      .map(one => one.outerHTML);
    """
    assert browser.js(script) == []
    assert browser.js("return [...document.images].filter(one => !one.hidden && !one.alt).length") == 0


def test_without_scripts_the_pictures_are_there(browser, pages):
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(pages("digits").path, ready=False)
        for selector in ("#traversals-picture", "#interpolation-picture", "#latent_map noscript", "#kl svg"):
            assert browser.wait_for_height(selector, 10) >= 10, selector
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.fault(227)
def test_hostile_names_are_text(browser, tmp_path, loopback):
    address, asked = loopback
    names = [
        "</script><script>window.hit = 1</script>",
        f'"><img src="{address}/1" onerror="window.hit = 2">',
        f"<img src={address}/2 onerror=window.hit=3>",
        "' onmouseover='window.hit = 4",
        "<!--<script>",
        "&lt;b&gt;",
        "\u2028{{7 * 7}}",
        "w" * 300,
    ]
    x, labels = digits()
    files = np.array([f"{names[i % len(names)]} {i}" for i in range(COUNT)])
    subject = Subject(model(), names[0], x, labels % len(names), names, (SIDE, SIDE, 1), files=files)
    page = Page(tmp_path / "hostile.html", subject)
    browser.open(page.path)
    browser.click("#worst")
    browser.press("#search", "<img", "enter")
    browser.press("#map", "right", "right", "enter")
    idle(browser)
    i = pinned(browser)[-1]
    number = page.number(i)
    expected = f"image {number}, {files[number]}, label {names[labels[number] % len(names)]}"
    said = browser.js("return document.querySelector('#pins li:last-child p').textContent.slice(2, -1)")
    assert said == expected
    found = browser.all("#listed .strip button")
    assert len(found) == min(40, sum("<img" in name for name in files[page.facts.chosen]))
    assert browser.js("return window.hit ?? null") is None
    assert browser.js("return document.querySelectorAll('[onerror], [onmouseover], main script').length") == 0
    assert asked == []
    assert browser.js("return document.title") == names[0]
    browser.size(PHONE, 800)
    browser.frame()
    assert browser.js("return document.documentElement.scrollWidth") <= PHONE


@pytest.mark.fault(227)
def test_the_policy_stops_what_is_not_of_the_page(browser, page, loopback):
    """Called from a timer of the page: a driver's own evaluation is not under the policy."""
    address, asked = loopback
    script = """
    const [address, done] = arguments, stopped = [];
    document.addEventListener("securitypolicyviolation", event => stopped.push(event.effectiveDirective));
    setTimeout(() => {
      const script = document.createElement("script"), image = document.createElement("img");
      script.textContent = "window.hit = 1";
      image.src = `${address}/image.png`;
      document.body.append(script, image);
      document.body.insertAdjacentHTML("beforeend", "<img src='data:,' onerror='window.hit = 2'>");
      document.body.insertAdjacentHTML("beforeend", "<p style='color: red'>red</p>");
      fetch(`${address}/fetch`).catch(() => 0);
      try { setTimeout("window.hit = 3"); } catch { stopped.push("eval"); }
      setTimeout(() => done([stopped, window.hit ?? null]), 300);
    });
    """
    stopped, hit = browser.driver.execute_async_script(script, address)
    assert hit is None
    assert asked == []
    assert {"script-src-elem", "script-src-attr", "style-src-attr", "img-src", "connect-src"} <= set(stopped)
    assert all("Content Security Policy" in message for message in browser.messages())


def test_the_page_of_a_few_images_without_labels_or_names(browser, tmp_path):
    x, _ = digits()
    browser.open(Page(tmp_path / "few.html", Subject(model(), "few", x[:3], None, (), (SIDE, SIDE, 1))).path)
    idle(browser)
    assert len(pinned(browser)) == 2
    assert [option.text for option in browser.all("#colour > option")] == ["bound", "distortion", "rate"]


def test_the_script_has_short_lines():
    for name in (*report_page.SCRIPTS, "page.css"):
        lines = report_page.source(name).splitlines()
        assert len(lines) <= 370, name
        assert max(map(len, lines)) <= 120, name


@pytest.mark.timing
def test_the_page_of_mnist_is_ready_within_a_second_and_follows_the_hand(browser, tmp_path, rng):
    count, shape = 5000, (28, 28, 1)
    x = np.kron(rng.random((count, 7, 7)), np.ones((4, 4))).reshape(count, 784).astype("float32")
    vae = VAE(seed=0)
    vae.build((None, 784))
    subject = Subject(vae, "mnist_bw", x, rng.integers(10, size=count), (), shape)
    points = rng.normal(size=(count, 2)).astype("float32")
    known = Kept(Facts(subject).chosen, points, np.zeros(0, "uint8"), np.zeros(2, "int64"))
    path = tmp_path / "mnist.html"
    path.write_text(report_page.page(Facts(subject, known), path), encoding="utf-8")
    browser.open(path)
    assert browser.js("return performance.getEntriesByName('ready')[0].startTime") < 1000
    idle(browser)
    script = """
    const [slider, done] = arguments, start = performance.now(), before = bicoder.report.decoded;
    let frames = 0;
    requestAnimationFrame(function move() {
      slider.value = (7 * frames) % 241;
      slider.dispatchEvent(new Event("input"));
      if (frames++ < 60) requestAnimationFrame(move);
      else done((1000 * (bicoder.report.decoded - before)) / (performance.now() - start));
    });
    """
    assert browser.driver.execute_async_script(script, browser.one("#sliders input")) >= 30
