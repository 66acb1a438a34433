"""A headless Chromium that opens pages of the report."""

import contextlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
# Without these, Chromium asks its makers for updates and the like, and cannot run as root in a container.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)

# By the names of WebDriver.
KEYS = {"left": "\ue012", "up": "\ue013", "right": "\ue014", "down": "\ue015"}
KEYS |= {"tab": "\ue004", "enter": "\ue007", "escape": "\ue00c"}
# The pixels of a part of a canvas. They are of a copy: reading changes how a canvas is kept.
PIXELS = """
const [canvas, x, y, width, height] = arguments;
const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
copy.drawImage(canvas, x, y, width, height, 0, 0, width, height);
return Array.from(copy.getImageData(0, 0, width, height).data);
"""


class Browser:
    """What tests do with a page."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, ready=True):
        """Open a file, and wait until its script says that it is ready."""
        self.messages(), self.requests()
        self.driver.get(Path(path).as_uri())
        if ready:
            self.wait("return document.body.dataset.ready === 'yes'")

    def js(self, script, *arguments):
        """What a script gives, run as the body of a function with these arguments."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script, *arguments, seconds=20):
        """What a script gives, as soon as it is true."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, seconds, 0.02).until(lambda _: self.js(script, *arguments))

    def wait_for_height(self, selector, least, seconds=20):
        """The height of an element as soon as it is that, in a page whose scripts may be off."""
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.support.ui import WebDriverWait

        def is_high(_):
            document = self.send("DOM.getDocument")["root"]["nodeId"]
            node = self.send("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
            height = self.send("DOM.getBoxModel", nodeId=node)["model"]["height"]
            return height if height >= least else None

        # What is not laid out yet, or of the page before, has no box.
        return WebDriverWait(self.driver, seconds, 0.05, [WebDriverException]).until(is_high, selector)

    def frame(self):
        """Wait until what was asked for has been drawn: two frames."""
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        )

    def one(self, selector):
        """The element of this selector."""
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        """All elements of this selector."""
        return self.driver.find_elements("css selector", selector)

    def send(self, command, **parameters):
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def size(self, width, height=900, ratio=1):
        """The size of the screen: a window is never as narrow as a phone."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **metrics)

    def dark(self, is_dark=True):
        """Whether the reader likes dark pages."""
        value = "dark" if is_dark else "light"
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def pixels(self, canvas, *place):
        """Red, green, blue and opacity of a canvas, (height, width, 4), or of a part of it: (x, y, width, height)."""
        width, height = place[2:] if place else self.js("return [arguments[0].width, arguments[0].height]", canvas)
        return np.array(self.js(PIXELS, canvas, *(place or (0, 0, width, height)))).reshape(height, width, 4)

    def grey(self, canvas, *place):
        """The grey values of a canvas on which something is drawn all over, (height, width), or of a part of it."""
        pixels = self.pixels(canvas, *place)
        assert (pixels[..., 3] == 255).all(), "nothing is drawn there"
        return pixels[..., 0]

    def mouse(self, selector="#map", place=(0, 0)):
        """The mouse over a place of an element, from its middle."""
        from selenium.webdriver import ActionChains

        element = self.one(selector)
        self.js("arguments[0].scrollIntoView({block: 'center'})", element)
        return ActionChains(self.driver, duration=20).move_to_element_with_offset(element, *place)

    def press(self, selector, *keys):
        """Press keys on an element, and wait for what they change."""
        for key in keys:
            self.one(selector).send_keys(KEYS.get(key, key))
        self.frame()

    def click(self, selector):
        """Press a button."""
        self.js("document.querySelector(arguments[0]).click()", selector)
        self.frame()

    def choose(self, selector, value):
        """Choose an option, as a hand would."""
        script = "const [s, value] = arguments; s.value = value; s.dispatchEvent(new Event('change', {bubbles: true}));"
        self.js(script, self.one(selector), str(value))
        self.frame()

    def messages(self):
        """Errors and warnings of the console since this was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self):
        """Addresses that were asked for since this was last asked, without what the policy stopped."""
        found = {}
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            number = message["params"].get("requestId")
            if message["method"] == "Network.requestWillBeSent":
                found[number] = message["params"]["request"]["url"]
            elif message["method"] == "Network.loadingFailed" and message["params"].get("blockedReason") == "csp":
                found.pop(number, None)
        return list(found.values())


@contextlib.contextmanager
def running_browser():
    """A browser with a profile of its own, for the fixtures of test modules.

    Without Chromium the tests are skipped, but for CI, which sets $BICODER_BROWSER=1: there they fail.
    """
    if not (CHROMIUM.exists() and DRIVER.exists()):
        reason = "needs Chromium: install the packages chromium and chromium-driver"
        (pytest.fail if os.environ.get("BICODER_BROWSER") == "1" else pytest.skip)(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(prefix="bicoder-chromium-", ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options, Service(str(DRIVER)))
        driver.set_script_timeout(20)
        driver.get("about:blank")  # what the first tab asked for is over
        try:
            yield Browser(driver)
        finally:
            driver.quit()
