"""Debian's Chromium without a screen, by its driver."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.deadlines import DEADLINE_S

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # it does not start as root otherwise
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
)
# What the page shows where there is no figure.
NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Screen:
    """What is looked at: pixels, and light or dark."""

    name: str
    width: int
    height: int
    scheme: str = "light"


PHONE, DESKTOP = Screen("phone", 360, 740), Screen("desktop", 1400, 900)


def why_not() -> str:
    """The reason why there is no browser here, or nothing."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if not missing:
        return ""
    return f"no {' and no '.join(missing)} (Debian: apt-get install chromium chromium-driver)"


class Browser:
    """One tab. `console` has what the browser complained of since it was asked last."""

    def __init__(self) -> None:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = Options()
        for argument in (*ARGUMENTS, f"--user-data-dir={self._profile.name}"):
            options.add_argument(argument)
        options.binary_location = shutil.which("chromium") or ""
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = Service(shutil.which("chromedriver"))
        self.driver = Chrome(options=options, service=service)

    def close(self) -> None:
        self.driver.quit()
        self._profile.cleanup()

    def open(self, url: str, screen: Screen, wait_for: str = "#versions tr") -> None:
        """Load a page as that screen shows it, and wait until that selector finds something."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=screen.width, height=screen.height, deviceScaleFactor=1,
            mobile=screen is PHONE,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": screen.scheme}]
        self.command("Emulation.setEmulatedMedia", features=features)
        self.console()
        self.driver.get(url)
        self.until(lambda: self.all(wait_for), f"the page never showed {wait_for}")

    def command(self, name: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, parameters)

    def script(self, text: str, *arguments: Any) -> Any:
        return self.driver.execute_script(text, *arguments)

    def console(self) -> list[Any]:
        entries: list[Any] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return entries

    def element(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """As it is shown, on one line; read at once, as the next poll may replace it."""
        shown: str = self.script("return document.querySelector(arguments[0]).innerText", selector)
        return " ".join(shown.split())

    def contents(self, selector: str) -> list[str]:
        """The text of all such elements, read at once."""
        select = "return [...document.querySelectorAll(arguments[0])].map(one => one.textContent)"
        texts: list[str] = self.script(select, selector)
        return texts

    def until(
        self, condition: Callable[[], object], message: str, wait_s: float = DEADLINE_S
    ) -> None:
        """Wait until it holds.

        Raises:
            TimeoutException: it did not.
        """
        WebDriverWait(self.driver, wait_s, poll_frequency=0.1).until(lambda _: condition(), message)

    # The keyboard

    @property
    def focused(self) -> WebElement:
        return self.driver.switch_to.active_element

    def press(self, *keys: str) -> None:
        self.focused.send_keys(*keys)

    def tab_to(self, element_id: str) -> None:
        """Tab forward until that element has the focus. Raises AssertionError: it never has."""
        for _ in range(30):
            self.press(Keys.TAB)
            if self.focused.get_attribute("id") == element_id:
                return
        raise AssertionError(f"#{element_id} cannot be reached by Tab")

    def type_into(self, element_id: str, text: str) -> None:
        """Replace what a field has, by the keyboard alone."""
        self.tab_to(element_id)
        self.press(Keys.CONTROL, "a")
        self.press(text)
