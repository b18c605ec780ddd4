"""What reacts in a report, in a real browser: film, map, tables, charts; and that a stranger's data stay data."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from reported import made_up, read
from support import frame_row

from captures.report import write_comparison, write_report
from captures.sources.frame import Event
from captures.storage import SessionStore

STRANGE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"


@pytest.fixture
def report(filmed: Path, page: Page) -> Page:
    """The page of a filmed session's report, its chapters open."""
    read(page, write_report(filmed / "session"))
    return page


def shown(page: Page) -> int:
    return page.locator(".film .frames li:visible").count()


def test_the_film_moves_along_the_frames_by_key_and_by_click(report: Page) -> None:
    slider, stage = report.get_by_role("slider", name="Frame", exact=True), report.locator(".stage figcaption")
    assert shown(report) == 12 and stage.inner_text().startswith("frame 1: patch, clip 0")
    slider.focus()
    report.keyboard.press("ArrowRight")
    second = stage.inner_text()
    assert second.startswith("frame 3: grey") and (slider.get_attribute("aria-valuetext") or "") in second
    for words in ("tiny", "pose", "pixels per cell"):
        assert words in second
    report.keyboard.press("End")
    assert report.locator(".frames li.current").get_attribute("data-sheet") == "random"
    report.locator(".frames li").nth(4).click()
    assert stage.inner_text().startswith("frame 9: grey, clip 1") and slider.input_value() == "4"


def test_heat_and_outlines_can_be_taken_off(report: Page) -> None:
    picture = report.locator(".stage img:visible")
    annotated = picture.get_attribute("src")
    report.get_by_label("heat and outlines").uncheck()
    assert picture.count() == 1 and picture.get_attribute("src") != annotated
    assert picture.evaluate("p => p.naturalWidth") == 480


def test_a_pose_in_the_map_shows_its_own_frames_only(report: Page) -> None:
    status = report.locator(".film [role=status]")
    buttons = report.locator("table.poses button")
    assert buttons.count() >= 2
    button = buttons.first
    button.focus()
    report.keyboard.press("Enter")
    cell = button.evaluate("b => b.parentElement.dataset.cell")
    here = report.locator(f".frames li[data-cell='{cell}']").count()
    assert 0 < here < 12 and shown(report) == here and button.get_attribute("aria-pressed") == "true"
    assert status.inner_text().startswith(f"{here} of 12 frames, at ")
    report.locator(".film select").select_option("patch")
    assert shown(report) == here // 3 and status.inner_text().endswith("patch sheet")
    report.get_by_role("button", name="Show all frames").click()
    assert shown(report) == 12 and button.get_attribute("aria-pressed") == "false"


def test_tables_sort_by_number_and_word_and_back(tmp_path: Path, page: Page) -> None:
    read(page, write_report(made_up(tmp_path / "s", 6)))
    table = page.locator("table.sortable", has_text="all views").first
    heading = table.locator("th", has_text="all views").last

    def column() -> list[str]:
        return table.locator("tbody tr td:last-child").all_inner_texts()

    before = column()
    numbers = [float(text.split()[0]) for text in before]
    assert heading.get_attribute("aria-sort") is None and len(set(numbers)) > 1
    for order, wanted in (("ascending", sorted(numbers)), ("descending", sorted(numbers)[::-1]), (None, numbers)):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == order
        assert [float(text.split()[0]) for text in column()] == wanted
    other = table.locator("th", has_text="sheet").first
    other.get_by_role("button").click()
    assert table.locator("th[aria-sort]").count() == 1
    assert table.locator("tbody tr td:nth-child(2)").all_inner_texts() == ["grey", "grey", "patch", "patch"]


def test_numbers_in_powers_of_ten_sort_by_what_they_are(tmp_path: Path, page: Page) -> None:
    read(page, write_report(made_up(tmp_path / "s", 6)))
    table = page.locator("table.sortable", has_text="all views").first
    cells = table.locator("tbody tr td:last-child")
    for number, value in enumerate(("0.000488", "3.05e-05", "0.5", "9.54e-07")):
        cells.nth(number).evaluate("(cell, value) => { cell.textContent = value; }", value)
    table.locator("th", has_text="all views").last.get_by_role("button").click()
    assert cells.all_inner_texts() == ["9.54e-07", "3.05e-05", "0.000488", "0.5"]


def test_a_chart_tells_its_values_under_the_cursor_by_key_and_in_a_table(tmp_path: Path, page: Page) -> None:
    read(page, write_report(made_up(tmp_path / "s", 6)))
    chart = page.locator("figure.chart", has_text="by distance").first
    tip = chart.locator(".tip")
    assert tip.is_hidden() and chart.locator(".mark[tabindex='0']").count() == 1
    chart.locator(".mark .reach").first.hover()
    assert tip.is_visible() and re.search(r"m, the patch: .* frames", tip.inner_text())
    chart.locator(".mark").first.focus()
    first = tip.inner_text()
    page.keyboard.press("ArrowRight")
    assert tip.inner_text() != first == chart.locator(".mark").first.get_attribute("aria-label")
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    chart.locator("summary").click()
    places = chart.locator("details tbody tr")
    assert places.count() == len({mark.get_attribute("data-place") for mark in chart.locator(".mark").all()})


def test_a_slider_reads_success_at_each_confidence(tmp_path: Path, page: Page) -> None:
    """The answers of this session have a score of 0.9; the target's is 0.1 also where it comes first."""
    read(page, write_report(made_up(tmp_path / "s", 6)))
    chart = page.locator("figure.chart", has=page.locator(".slider")).last
    assert "wrong answer" in chart.locator("figcaption").inner_text()
    slider, output = chart.get_by_role("slider"), chart.locator("output")
    for steps, words, rate in ((18, "90 %", "60.0 %"), (19, "95 %", "0.0 %")):
        slider.fill(str(steps))
        text = output.inner_text().replace("\N{NO-BREAK SPACE}", " ")
        assert f"confidence of {words} or more" in text and f"the patch: {rate}" in text and "grey: 0.0 %" in text


def test_without_scripts_all_of_it_can_be_read(filmed: Path, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(write_report(filmed / "session").as_uri())
    for summary in page.locator("details.chapter > summary").all():
        summary.click()
    assert page.locator(".frames figure").count() == 12 and page.locator(".frames figcaption").last.is_visible()
    assert page.locator(".frames .facts:visible").count() == 12
    for hidden in (".viewer", ".slider", "th button", ".poses button"):
        assert page.locator(f"{hidden}:visible").count() == 0
    assert page.locator(".mark title").count() == page.locator(".mark").count() > 10
    assert page.locator("table.poses td b").first.is_visible()
    context.close()


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A session that a stranger made, with markup wherever there are words."""
    folder = tmp_path / "s"
    with SessionStore(folder / "session.db") as store:
        for number in range(24):
            clip, condition = number // 4, ("grey", "patch")[number // 2 % 2]
            top = STRANGE if condition == "patch" else "red thing"
            where = {"distance_m": 0.4 + 0.1 * clip, "yaw_deg": 0.0, "light": STRANGE, "model": STRANGE}
            store.add([frame_row(number, condition, clip, top, **where)], [Event(1.0, "mark", STRANGE)])
    record = {"target": STRANGE, "begun": STRANGE, "label": STRANGE, "source": STRANGE, "device": STRANGE}
    (folder / "session.json").write_text(json.dumps(record))
    return folder


def test_a_strangers_words_never_become_markup(strange: Path, tmp_path: Path, page: Page) -> None:
    page.on("dialog", lambda dialog: pytest.fail("a script ran"))
    report = write_report(strange)
    comparison = write_comparison([strange, made_up(tmp_path / STRANGE.replace("/", "_"), 3)], tmp_path / "c.html")
    for path in (report, comparison):
        read(page, path)
        assert page.locator("script").count() == 1 and page.locator("img[src=x]").count() == 0
        assert STRANGE in page.inner_text("body") and "49" not in page.title()
        assert "alert" not in path.read_text().partition("<script>")[2].partition("</script>")[0]


def test_the_page_runs_its_own_script_only_and_loads_nothing(filmed: Path, browser: Browser) -> None:
    page, arrived = browser.new_page(), list[str]()
    page.on("requestfinished", lambda request: arrived.append(request.url))
    report = write_report(filmed / "session")
    smuggled = report.with_name("smuggled.html")
    bad = "<script>document.title = 'taken'</script><img src='smuggled.png' onload=\"document.title = 'taken'\">"
    cv2.imwrite(str(report.with_name("smuggled.png")), np.zeros((4, 4, 3), np.uint8))
    smuggled.write_text(report.read_text().replace("</main>", f"{bad}</main>"))
    page.goto(smuggled.as_uri())
    assert page.title().startswith("Does the patch still work?")
    assert [url for url in arrived if not url.startswith("data:")] == [smuggled.as_uri()]
    assert page.locator(".film.live").count() == 1  # its own script ran
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_a_comparison_shows_sessions_side_by_side(
    filmed: Path, tmp_path: Path, browser: Browser, scheme: str, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    folders = [filmed / "session", made_up(tmp_path / "other", 5)]
    read(page, write_comparison(folders, tmp_path / "c.html"))
    columns = page.locator(".columns > section")
    assert columns.locator(".verdict").count() == 2
    beside = len({round(column.bounding_box()["y"]) for column in columns.all()}) == 1
    assert beside == (width > 390) and page.evaluate("document.documentElement.scrollWidth") <= width
    violations = Axe().run(page).response["violations"]
    assert [(v["id"], [node["html"][:90] for node in v["nodes"]]) for v in violations] == []
    page.close()


def test_a_film_of_a_long_session_stays_small(filmed: Path, tmp_path: Path) -> None:
    """300 key frames of noise, which JPEG cannot make small, are thinned to what a page may hold."""
    session = shutil.copytree(filmed / "session", tmp_path / "session")
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    rows = [frame_row(i, "patch", i // 30, "blue thing", time_s=float(i)) for i in range(300)]
    (session / "session.db").unlink()
    shutil.rmtree(session / "frames")
    (session / "frames").mkdir()
    with SessionStore(session / "session.db") as store:
        store.add(rows)
    for i in range(300):
        (session / "frames" / f"{i:06d}-patch.jpg").write_bytes(cv2.imencode(".jpg", noise)[1].tobytes())
    text = write_report(session).read_text()
    frames = re.findall(r"<figcaption>frame (\d+): patch", text)
    assert 5 <= len(frames) <= 60 and frames[0] == "0" and frames[-1] == "299"
    assert len(text) < 2_500_000
