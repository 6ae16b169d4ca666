"""The board in a real browser: clicks, keys, sizes and colours, and what axe finds. Screenshots to look at.

    python benchmarks/peers/board_browser.py RUNS SHOTS [--axe axe.min.js]

RUNS: a folder with some runs and a search. SHOTS: a folder for the pictures. Needs playwright and a Chromium at
/usr/bin/chromium. Exits with 1 where a check fails, with its name. axe-core is not part of ladle: `npm pack axe-core`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
SERIOUS = ("serious", "critical")


@contextmanager
def board(folder: Path) -> Iterator[str]:
    """The address of a board over `folder`."""
    command = [sys.executable, "-m", "ladle.cli.main", "board", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, "the board did not start"
        yield found.group()
    finally:
        process.send_signal(2)
        rest = process.communicate(timeout=20)[0]
        print("ended with", process.returncode, "and said", repr(rest))
        assert process.returncode == 0 and "Traceback" not in rest


def ready(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("body[data-ready=yes]", timeout=30_000)
    page.wait_for_timeout(900)


def names(page: Page) -> list[str]:
    return page.eval_on_selector_all("#runs tbody input", "all => all.map((one) => one.dataset.run)")


def cells(page: Page, column: int) -> list[str]:
    return page.eval_on_selector_all("#runs tbody tr", f"all => all.map((one) => one.cells[{column}].textContent)")


def lines(page: Page) -> dict[str, int]:
    """How many lines each panel draws, asked from bokeh's own document."""
    return page.evaluate(
        "() => Object.fromEntries(Bokeh.documents[0].roots().filter((one) => one.name !== 'map').map((one) => "
        "[one.name, one.renderers[1].data_source.data.xs.length]))"
    )


def ranges(page: Page) -> list[float]:
    return page.evaluate("() => { const r = Bokeh.documents[0].roots()[0].x_range; return [r.start, r.end]; }")


def axe(page: Page, script: Path | None, where: str) -> None:
    """Ask axe; anything serious ends the check."""
    if script is None:
        return
    page.add_script_tag(path=str(script))
    found = page.evaluate("() => axe.run(document)")
    for one in found["violations"]:
        print(f"axe, {where}: {one['impact']}: {one['id']}: {one['help']}: {len(one['nodes'])} nodes")
        for node in one["nodes"][:3]:
            print("   ", json.dumps(node["target"]), node["html"][:160])
    print(f"axe, {where}: {len(found['passes'])} rules pass, {len(found['violations'])} do not")
    assert not [one for one in found["violations"] if one["impact"] in SERIOUS], f"axe, {where}"


def choose(page: Page, *wanted: str) -> None:
    """Choose these runs and no others, by their boxes."""
    page.click("#clear")
    for name in wanted:
        page.check(f'#runs input[data-run="{name}"]')
    page.wait_for_timeout(900)


def clicks(page: Page, shots: Path, script: Path | None) -> None:
    page.screenshot(path=shots / "first.png")
    before = names(page)
    page.click("th[data-key=loss] button")
    values = [float(one) for one in cells(page, 9) if one != "-"]
    assert values == sorted(values) and page.get_attribute("th[data-key=loss]", "aria-sort") == "ascending", "sort"
    page.click("th[data-key=loss] button")
    values = [float(one) for one in cells(page, 9) if one != "-"]
    assert values == sorted(values, reverse=True), "sort the other way"

    runs = [one for one in before if "/" not in one and one != "search"]
    page.fill("#filter", runs[0])
    assert all(runs[0] in one for one in names(page)) and len(names(page)) < len(before), "filter"
    page.fill("#filter", "")
    page.select_option("#status", "finished")
    assert set(cells(page, 1)) == {"finished"}, "status"
    page.select_option("#status", "")

    choose(page, *runs[:2])
    shown = lines(page)
    print("lines drawn:", shown)
    assert shown["loss"] >= 2 and page.locator(".about").count() == 2, "two runs over each other"
    page.screenshot(path=shots / "two.png", full_page=True)
    end = ranges(page)[1]
    page.select_option("#axis", "updates")
    page.wait_for_timeout(900)
    assert ranges(page)[1] != end, "another axis"
    page.check("#log")
    page.wait_for_timeout(600)
    page.screenshot(path=shots / "log.png", full_page=True)
    page.uncheck("#log")

    whole = ranges(page)
    page.click("[data-zoom=in]")
    page.wait_for_timeout(500)
    assert ranges(page)[1] - ranges(page)[0] < 0.6 * (whole[1] - whole[0]), "zoom"
    page.click("[data-zoom=whole]")
    page.wait_for_timeout(700)
    assert ranges(page) == whole, f"whole run: {whole}, {ranges(page)}"
    plot = page.locator("[data-panel=loss] .plot").bounding_box()
    assert plot is not None
    page.mouse.move(plot["x"] + plot["width"] * 0.4, plot["y"] + 100)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] * 0.6, plot["y"] + 120, steps=5)
    page.mouse.up()
    page.wait_for_timeout(700)
    assert ranges(page)[1] - ranges(page)[0] < 0.5 * (whole[1] - whole[0]), "zoom by a box"
    page.click("[data-zoom=whole]")
    page.wait_for_timeout(700)
    axe(page, script, "light")

    page.click("#theme")
    page.wait_for_timeout(700)
    assert page.evaluate("() => document.documentElement.classList.contains('dark')"), "dark"
    page.screenshot(path=shots / "dark.png", full_page=True)
    axe(page, script, "dark")
    page.click("#theme")


def seeds(page: Page, shots: Path) -> None:
    """Runs that differ only in their seed are one line with a band."""
    both = [one for one in names(page) if one.startswith("cmp/64")]
    choose(page, *both)
    bands = page.evaluate("() => Bokeh.documents[0].roots()[0].renderers[0].data_source.data.xs.length")
    assert len(both) >= 2 and bands >= 1 and "seeds" in page.inner_text("#legend"), "seeds"
    page.screenshot(path=shots / "seeds.png", full_page=True)
    choose(page, "search")
    assert page.is_visible("#search") and page.locator("#tried tbody tr").count() > 1, "search"
    page.screenshot(path=shots / "search.png", full_page=True)


def keyboard(page: Page, address: str) -> None:
    """Everything is reached and worked with Tab, Space and Enter."""
    ready(page, address)
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => { const e = document.activeElement; return e.id || e.dataset.key || "
                                     "e.dataset.run || e.dataset.zoom || e.className || e.tagName; }"))  # fmt: skip
        if "zoom" in reached[-1] or reached[-1] == "whole":
            break
    for wanted in ("skip", "theme", "filter", "status", "clear", "BUTTON", "axis", "log", "in", "whole"):
        assert wanted in reached, f"Tab reaches {wanted}: {reached}"
    box = page.locator("#runs tbody input").last
    box.focus()
    was = box.is_checked()
    page.keyboard.press("Space")
    assert box.is_checked() != was, "Space chooses"
    page.locator("th[data-key=name] button").focus()
    page.keyboard.press("Enter")
    assert page.get_attribute("th[data-key=name]", "aria-sort") == "ascending", "Enter sorts"


def phone(page: Page, address: str, shots: Path, script: Path | None) -> None:
    ready(page, address)
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    page.screenshot(path=shots / "phone.png", full_page=True)
    assert wide <= 390, f"a phone's width: the page is {wide} wide"
    axe(page, script, "phone")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("shots", type=Path)
    parser.add_argument("--axe", type=Path, default=None)
    given = parser.parse_args()
    given.shots.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    with board(given.runs) as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        def view(width: int, height: int, work: Callable[[Page], None]) -> None:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
            page.on("request", lambda asked: None if "localhost" in asked.url or asked.url.startswith("data:")
                    else wrong.append(f"asked for {asked.url}"))  # fmt: skip
            started = time.perf_counter()
            ready(page, address)
            print(f"{width} x {height}: ready after {time.perf_counter() - started - 0.9:.2f} s")
            work(page)
            page.close()

        view(1400, 1000, lambda page: (clicks(page, given.shots, given.axe), seeds(page, given.shots))[0])
        view(1400, 1000, lambda page: keyboard(page, address))
        view(390, 844, lambda page: phone(page, address, given.shots, given.axe))
        browser.close()
    assert not wrong, wrong
    print("all checks hold")


if __name__ == "__main__":
    main()
