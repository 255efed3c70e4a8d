"""The HTML file opened from disk in a headless Chromium without a network."""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from benchmark.report.files import html_page
from tests.report.render import sample

pytestmark = pytest.mark.real
ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
    "--proxy-server=127.0.0.1:9",
)
"""The proxy leads nowhere: whatever the page or the browser asks for fails."""
MOST_ROWS = 1234
LEAST_MARKS = {
    "latency_by_length": 3 + 20,
    "latency_band": 3 * (3 + 3 + 21),
    "throughput_vs_latency": 1 + 28,
    "cost_bars": 8,
    "heat_map": 45 + 49,
    "latency_ecdf": 2,
    "timeline": 1 + 1 + 30,
    "cold_start": 8,
    "fast_math_slope": 2 + 4,
}
"""Lines and areas of each chart of the sample, its points, bars, squares and words."""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html_page(sample.document(sample.all_rows(MOST_ROWS))), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("chromium and chromedriver are not both installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    chrome.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    chrome.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield chrome
    chrome.quit()


@pytest.fixture
def opened(browser, address):
    def at(width, height, scheme="light"):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(address)
        wait(browser, "return document.body.dataset.drawn === 'yes'")
        return browser

    return at


def wait(browser, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60, poll_frequency=0.05).until(lambda it: it.execute_script(condition))


def complaints(browser):
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] != "INFO"]


def shot(browser, name, folder):
    """Save the whole page; in BENCHMARK_SCREENSHOTS where that is set, for people to look at."""
    size = browser.execute_script(
        "const it = document.documentElement; return [it.clientWidth, it.scrollHeight]"
    )
    clip = {"x": 0, "y": 0, "width": size[0], "height": min(size[1], 16_000), "scale": 1}
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    path = Path(os.environ.get("BENCHMARK_SCREENSHOTS", folder)) / f"{name}.png"
    path.write_bytes(base64.b64decode(taken["data"]))
    return path


def column(browser, name):
    """Texts of a column of the table of all rows, as shown."""
    return browser.execute_script(
        "const all = document.getElementById('all');"
        "const place = [...all.tHead.rows[0].cells].findIndex((one) => one.textContent === arguments[0]);"
        "return [...all.tBodies[0].rows].map((row) => row.cells[place].textContent)",
        name,
    )


def shown(browser):
    return int(browser.find_element("id", "count").get_attribute("data-shown"))


@pytest.mark.parametrize(
    "look",
    [("desktop", 1280, 900, "light"), ("phone", 360, 740, "light"), ("dark", 1280, 900, "dark")],
    ids=lambda look: look[0],
)
def test_every_chart_is_drawn_without_a_complaint_and_nothing_sticks_out(opened, tmp_path, look):
    name, width, height, scheme = look
    browser = opened(width, height, scheme)
    marks = browser.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('.chart')].map((one) =>"
        "[one.dataset.chart, one.querySelectorAll('svg .role-mark path, svg .role-mark text').length]))"
    )
    assert {chart: number for chart, number in marks.items() if number < LEAST_MARKS[chart]} == {}
    assert {*marks} == {*LEAST_MARKS}
    wide, there = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= there
    sticks = browser.execute_script(
        "return [...document.querySelectorAll('.chart')].filter((one) => one.scrollWidth > one.clientWidth)"
        ".map((one) => one.dataset.chart)"
    )
    assert sticks == []
    assert shot(browser, name, tmp_path).stat().st_size > 50_000
    assert complaints(browser) == []


def test_the_file_is_small(address):
    assert Path(unquote(urlsplit(address).path)).stat().st_size < 1_500_000


def test_texts_from_outside_ran_nothing(opened):
    browser = opened(1280, 900)
    assert browser.execute_script("return document.querySelectorAll('main img, main script').length") == 0
    assert sample.SCRIPT in column(browser, "model")
    assert browser.execute_script("return document.querySelector('header h1').textContent").startswith(
        "Encoders"
    )


def test_words_and_choices_filter_the_rows(opened):
    browser = opened(1280, 900)
    frame = sample.all_rows(MOST_ROWS)
    assert shown(browser) == MOST_ROWS
    browser.find_element("id", "words").send_keys("BERT inf1")
    wanted = frame["model"].str.contains("bert") & frame["hardware"].str.contains("inf1")
    wait(browser, f"return document.getElementById('count').dataset.shown === '{wanted.sum()}'")
    assert {*column(browser, "model")} == {"bert-base", "distilbert"}
    assert {*column(browser, "hardware")} == {"inf1.2xlarge"}
    choice = browser.find_element("css selector", "select[data-column=status]")
    choice.send_keys("compile_error")
    both = (wanted & (frame["status"] == "compile_error")).sum()
    wait(browser, f"return document.getElementById('count').dataset.shown === '{both}'")
    assert {*column(browser, "status")} == {"compile_error"}
    browser.find_element("css selector", "button[type=reset]").click()
    wait(browser, f"return document.getElementById('count').dataset.shown === '{MOST_ROWS}'")
    assert complaints(browser) == []


def test_heads_sort_figures_by_value_and_what_is_missing_comes_last(opened):
    browser = opened(1280, 900)
    head = browser.find_element("xpath", "//table[@id='all']//th[button='p95 ms']")
    head.find_element("tag name", "button").send_keys("\ue007")  # the enter key: no mouse is needed
    assert head.get_attribute("aria-sort") == "ascending"
    known = sample.all_rows(MOST_ROWS)["p95_ms"].dropna()
    assert [float(one) for one in column(browser, "p95 ms")] == known.sort_values().head(100).tolist()
    head.find_element("tag name", "button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert float(column(browser, "p95 ms")[0]) == pytest.approx(known.max(), rel=1e-4)
    for _ in range(MOST_ROWS // 100):
        browser.find_element("id", "on").click()
    assert column(browser, "p95 ms")[-1] == ""
    assert browser.find_element("id", "count").text == "1,201 to 1,234 of 1,234 rows"


def test_a_point_tells_its_figures_as_text(opened):
    from selenium.webdriver import ActionChains

    browser = opened(1280, 900)
    point = browser.find_element(
        "css selector", "[data-chart=throughput_vs_latency] .mark-symbol.role-mark path"
    )
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(browser).move_to_element(point).perform()
    wait(browser, "return !document.getElementById('hint').hidden")
    wanted_text = browser.find_element("id", "hint").text
    assert "model: BERT" in wanted_text
    assert "batch_size: " in wanted_text
    assert complaints(browser) == []
