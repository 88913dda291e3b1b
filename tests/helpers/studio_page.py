"""A browser's page of a studio, and what a person does there."""

import io
import shutil
import time

import numpy as np
import soundfile

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2}
PORTRAIT, LANDSCAPE = {"width": 390, "height": 844}, {"width": 844, "height": 390}


def status(page) -> str:
    """What the page says."""
    return page.locator("#status").inner_text()


def changed_answer(page, job, change):
    """The page is told of the job what `change` makes of it."""

    def answer(route):
        given = route.fetch()
        told = given.json()
        change(told)
        route.fulfill(response=given, json=told)

    page.route(f"**/api/jobs/{job}", answer)
    page.reload()


class Page:
    """A browser's page of a studio."""

    def __init__(self, play, studio, **context):
        self.studio, self.outside = studio, []
        self.browser = play.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        context = self.browser.new_context(
            accept_downloads=True, **({"viewport": {"width": 1280, "height": 900}} | context)
        )
        self.page = context.new_page()
        own = (studio.base, "data:", "blob:")
        self.page.on("request", lambda r: r.url.startswith(own) or self.outside.append(r.url))
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(studio.address)

    def wait_for_take(self, number: int, seconds: float = 120) -> None:
        self.page.locator(f'[data-take="{number}"][data-state="done"]').wait_for(timeout=1000 * seconds)

    @property
    def job(self) -> str:
        return self.page.evaluate("location.hash.slice(1)")

    def until(self, script: str, seconds: float = 60) -> None:
        """Wait until a script's value is true: the page's policy forbids Playwright's own way to wait for one."""
        limit = time.monotonic() + seconds
        while not self.page.evaluate(script):
            assert time.monotonic() < limit, script
            time.sleep(0.05)

    def beats(self) -> list[float]:
        return self.studio.job(self.job)["beats"]["beats"]

    def saved(self, what, seconds: float = 20):
        """Wait until the server has beats for which `what(beats)` holds."""
        limit = time.monotonic() + seconds
        while not what(found := self.beats()):
            assert time.monotonic() < limit, found
            time.sleep(0.1)
        return found

    def drag_beat(self, index: int, seconds: float) -> None:
        """Drag a beat with the mouse by this time."""
        marker = self.page.locator(f'[data-beat="{index}"]')
        box, wave = marker.bounding_box(), self.page.locator("#wave").bounding_box()
        shown = self.studio.job(self.job)["video"]["seconds"]
        x, y = box["x"] + box["width"] / 2, wave["y"] + 40
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        for part in (0.3, 0.7, 1.0):
            self.page.mouse.move(x + part * seconds * wave["width"] / shown, y)
        self.page.mouse.up()

    def sound(self, number: int) -> np.ndarray:
        return soundfile.read(io.BytesIO(self.studio.read(f"/api/jobs/{self.job}/sound/{number}")), dtype="int16")[0]


def clear_region(page) -> None:
    """Press Clear, without scrolling to it. For 10 ms after a drag, wavesurfer takes each click for the drag's own."""
    page.wait_for_timeout(100)
    page.locator("#region-clear").evaluate("button => button.click()")
    assert page.locator("#region-from").input_value() == ""


def swipe(mine: Page, x: float, y: float, dx: float, dy: float) -> None:
    """A finger that is put down, waits, and moves slowly."""
    speak = mine.page.context.new_cdp_session(mine.page).send
    at = lambda share: [{"x": x + share * dx, "y": y + share * dy}]
    speak("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": at(0)})
    time.sleep(0.15)
    for k in range(1, 21):
        speak("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": at(k / 20)})
        time.sleep(0.02)
    speak("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
