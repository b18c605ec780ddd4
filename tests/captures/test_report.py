"""Reports: what they say, as HTML in a real browser, as PDF, and of several folders side by side."""

import html
import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas
import pypdfium2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from reported import made_up, read
from reportlab.graphics.shapes import Circle, PolyLine
from support import FIRST_RUN, CommandResult, frame_row, vivid_patch

from calibration.common.errors import InputError
from captures.report import ReplayOptions, write_comparison, write_report
from captures.report.blocks import Charts, Document, Heading, Picture, Table, Text
from captures.report.figures.charts import rates_chart
from captures.report.figures.geometry import draw
from captures.report.figures.paper import _dot
from captures.report.html import write_html
from captures.report.pdf import write_pdf
from captures.report.run_part import _by_size
from captures.results.curves import THRESHOLD, curves_of
from captures.results.recorded_session import RecordedSession
from captures.storage import SessionStore, export_parquet, read_rows
from physpatch.records.evaluation_record import ObjectSize
from physpatch.records.patch_file import Patch
from physpatch.stats.intervals import wilson


def test_the_report_is_one_file_with_the_numbers_in_it(session: Path) -> None:
    text = write_report(session).read_text()
    assert "http://" not in text and "https://" not in text and 'src="data:image/' in text
    assert "virtual rig, a simulation" in text and "grey" in text and "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}" in text
    kinds = re.findall(r"<figcaption>frame \d+: (\w+), clip", text)
    assert len(kinds) == 12 and {kind: kinds.count(kind) for kind in kinds} == {"patch": 4, "grey": 4, "random": 4}


def test_a_report_says_what_was_measured_how_sure_and_what_does_not_count(tmp_path: Path, page: Page) -> None:
    session = made_up(tmp_path / "s", 6)
    read(page, write_report(session))
    words = page.inner_text("body").replace("\N{NO-BREAK SPACE}", " ")
    assert "with the patch, the target class came first in 60.0 % (31.3 to 83.2, n = 10) of the clips" in words
    assert "0.0 % (0.0 to 27.8, n = 10) with the grey control" in words
    assert re.search(r"target first\s+grey\s+\+60\.0 points \[\+[\d.]+, \+[\d.]+\], n = 10\s+0\.0312", words)
    assert re.search(r"target first\s+1\.00\s+10\s", words)  # ICC and effective n
    assert "not replayed" in words and "frames.parquet" in words
    terms = page.locator("#Terms, #terms").inner_text()
    assert all(term in terms for term in ("ICC", "McNemar's p", "Brier score", "effective n", "AP50"))
    assert page.locator("table.poses").count() == 2
    assert page.locator("nav a").count() == page.locator("details.chapter > summary h2").count() > 5


@pytest.mark.parametrize(
    ("takes", "words"),
    [
        (1, "in 43.8 % (one case; within it 12.0 to 81.7) of the poses"),
        (4, "in 60.0 % (16.2 to 92.1, n = 4) of the clips"),
    ],
)
def test_a_hand_held_sessions_report_speaks_of_clips(tmp_path: Path, page: Page, takes: int, words: str) -> None:
    """It could not be written at all."""
    session = made_up(tmp_path / "s", 6)
    with closing(sqlite3.connect(session / "session.db")) as database:
        database.execute(f"UPDATE frames SET clip = 2 * (clip % {takes}) + (condition = 'patch')")
        database.commit()
    read(page, write_report(session))
    text = page.inner_text("body").replace("\N{NO-BREAK SPACE}", " ")
    assert words in text and f"Sheets were held up in {2 * takes} clips" in text


def test_a_single_clip_is_counted_in_frames(tmp_path: Path) -> None:
    with SessionStore(tmp_path / "session.db") as store:
        shown = [("grey", "red thing"), ("patch", "blue thing"), ("grey", "red thing"), ("patch", "red thing")]
        store.add([frame_row(number, condition, 0, top) for number, (condition, top) in enumerate(shown, 1)])
    (tmp_path / "session.json").write_text('{"target": "blue thing"}')
    words = write_report(tmp_path).read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    assert "the target class came first in 50.0 % (one case) of the frames" in words


def test_a_report_fits_a_phone_and_can_be_read_aloud(tmp_path: Path, page: Page) -> None:
    read(page, write_report(made_up(tmp_path / "s", 4)))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0 && i.alt)")
    assert page.evaluate("document.documentElement.lang") == "en"
    for anchor in page.locator("nav a").all():
        assert page.locator(anchor.get_attribute("href") or "").count() == 1
    page.locator("summary", has_text="Events").click()
    assert page.locator("details[open] pre").first.is_visible()
    contrast = page.evaluate("""() => {
        const lit = c => { const [r, g, b] = c.match(/\\d+/g).slice(0, 3).map(v => (v / 255) ** 2.2);
                           return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05; };
        const back = lit('rgb(244, 244, 244)');
        return Math.min(...[...document.querySelectorAll('p, td, th, li, a, figcaption, caption, h1, h2, summary')]
            .map(e => back / lit(getComputedStyle(e).color))); }""")
    assert contrast > 4.5  # WCAG 2.1, AA


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_at_any_width(filmed: Path, browser: Browser, width: int, scheme: str) -> None:
    """Only tables are wider than a phone; they scroll by themselves."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    read(page, write_report(filmed / "session"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.evaluate(
        """() => [...document.querySelectorAll('p, li, h1, h2, h3, dd, dt, code, figure, summary')]
            .filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 1).map(e => e.outerHTML.slice(0, 90))"""
    )
    assert cut == []
    assert page.locator(".first img").count() >= 2 and page.locator(".numbers dd.value").count() >= 2
    if width == 1280:
        violations = Axe().run(page).response["violations"]
        assert [(v["id"], [node["html"][:90] for node in v["nodes"]]) for v in violations] == []
    page.close()


def test_question_to_next_steps_fit_a_notebooks_first_screen(filmed: Path, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(write_report(filmed / "session").as_uri())
    for part in (".question", ".verdict", ".tiles", ".numbers", ".next"):
        box = page.locator(f".first {part}").bounding_box()
        assert box is not None and box["y"] >= 0 and box["y"] + box["height"] <= 800, part
    page.close()


def test_on_a_phone_both_main_columns_are_in_sight(tmp_path: Path, browser: Browser) -> None:
    """They lay beyond the model's name and the counts."""
    page = browser.new_page(viewport={"width": 390, "height": 844})
    read(page, write_report(made_up(tmp_path / "s", 6)))
    table = page.locator("table", has_text="mean target score").first
    for heading in ("target first", "wrong answer"):
        box = table.locator("th", has_text=heading).bounding_box()
        assert box is not None and box["x"] + box["width"] <= 390
    page.close()


def test_a_printed_report_has_two_charts_a_row_and_no_buttons(tmp_path: Path, page: Page) -> None:
    read(page, write_report(made_up(tmp_path / "s", 6)))
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 990})  # A4 within its margins
    first, second = (page.locator(".charts").nth(1).locator("figure").nth(n).bounding_box() for n in (0, 1))
    assert first is not None and second is not None and first["y"] == second["y"] and first["x"] < second["x"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 700  # or the printed page shrinks
    assert page.locator("nav").is_hidden()
    button = page.locator("th button").first
    assert button.evaluate("button => getComputedStyle(button, '::after').content") == "none"
    page.pdf(path=tmp_path / "printed.pdf", format="A4")
    with pypdfium2.PdfDocument(tmp_path / "printed.pdf") as pdf:
        last_lines = [sheet.get_textpage().get_text_bounded().split("\r\n")[-1] for sheet in pdf]
    assert not {"Uncertainty", "What the camera saw", "What it depends on", "Terms"} & {*last_lines}


def test_a_patch_of_few_cells_is_shown_as_large_as_frames(tmp_path: Path, page: Page) -> None:
    """It was as small as its cells; and the date was that of a file's record."""
    session, run = made_up(tmp_path / "s", 4, begun="2026-01-02T03:04:05+0000", run="../run"), tmp_path / "run"
    Patch(np.zeros((4, 4, 3), np.uint8), None).save(run)
    (run / "run.json").write_text(json.dumps(FIRST_RUN))
    read(page, write_report(session))
    page.set_viewport_size({"width": 1280, "height": 900})
    assert page.locator(".first .tiles img").bounding_box()["width"] > 200
    assert "begun 2026-01-02 at 03:04\n" in page.inner_text("body")


def test_a_link_opens_its_chapter_and_print_opens_all(tmp_path: Path, page: Page) -> None:
    page.goto(write_report(made_up(tmp_path / "s", 4)).as_uri())
    assert page.locator("details.chapter[open]").count() == 0
    page.locator("nav a", has_text="Uncertainty").click()
    assert page.locator("details.chapter[open] > summary").all_inner_texts() == ["Uncertainty"]
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.chapter:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.chapter[open]").count() == 1


def test_what_people_wrote_is_text_and_not_markup(tmp_path: Path, page: Page) -> None:
    page.on("dialog", lambda dialog: pytest.fail("a script ran"))
    session = made_up(tmp_path / "s", 4)
    read(page, write_report(session, pdf=tmp_path / "s.pdf"))
    assert "alert" not in "".join(page.locator("script").all_text_contents()) and "<b>red</b>" in page.inner_text(
        "body"
    )
    page.locator("summary", has_text="Events").click()
    assert "<script>alert(1)</script>" in page.inner_text("details[open]:not(.chapter) pre")


def test_links_lead_to_the_raw_data(tmp_path: Path, page: Page) -> None:
    session = made_up(tmp_path / "a session", 4)
    read(page, write_report(session, tmp_path / "elsewhere.html"))
    links = [link for link in page.locator("main details li a").all() if link.is_visible()]
    targets = [link.evaluate("a => decodeURI(new URL(a.href).pathname)") for link in links]
    assert {Path(target).name for target in targets} == {
        "frames.csv",
        "frames.parquet",
        "sequences.csv",
        "session.db",
        "session.json",
    }
    assert all(Path(target).is_file() for target in targets)


def test_the_pdf_says_the_same_on_pages_that_are_not_empty(session: Path, tmp_path: Path) -> None:
    write_report(session, pdf=tmp_path / "report.pdf")
    with pypdfium2.PdfDocument(tmp_path / "report.pdf") as pdf:
        words = " ".join(page.get_textpage().get_text_bounded() for page in pdf)
        for page in pdf:
            picture = page.render(scale=0.5).to_numpy()
            assert (picture < 128).mean() > 0.0008  # the page's number alone has less than 0.0002
            edge = np.concatenate([picture[:, :8].ravel(), picture[:, -8:].ravel()])
            assert edge.min() > 200  # nothing runs off the paper
    for said in (
        "Does the patch still work?",
        "Uncertainty",
        "From digital to physical",
        "SHA-256",
        "virtual rig, a simulation",
    ):
        assert said in " ".join(words.split())


def test_no_word_of_a_table_is_broken_on_paper(tmp_path: Path) -> None:
    headings = ["model", "sheet", "frames", "clips", "target first", "wrong answer", "mean target score", "sheet found"]
    row = ["efficientnet_lite0", "shuffled", "21", "7", *["0.0 % (0.0 to 39.4, n = 6)"] * 2, "0.0 %", "100.0 %"]
    write_pdf(Document("A", "b", [Table(headings, [row], frozenset({0}))]), tmp_path / "x.pdf")
    with pypdfium2.PdfDocument(tmp_path / "x.pdf") as pdf:
        lines = pdf[0].get_textpage().get_text_bounded().split()
    assert {"frames", "efficientnet_lite0", "shuffled", "100.0"} <= {*lines}


def test_a_row_that_is_taller_than_a_page_goes_on_in_the_next_one(tmp_path: Path) -> None:
    names = [f"photograph{number}" for number in range(1200)]
    write_pdf(Document("A", "b", [Table(["setting", "value"], [["behind", " ".join(names)]])]), tmp_path / "x.pdf")
    with pypdfium2.PdfDocument(tmp_path / "x.pdf") as pdf:
        words = " ".join(page.get_textpage().get_text_bounded() for page in pdf).split()
        assert len(pdf) > 1
    assert set(names) <= {*words}


def test_a_chart_of_many_models_fits_a_page(tmp_path: Path) -> None:
    """Nine models with two outcomes each ended the PDF in a traceback."""
    rates = {f"model {i}\ntarget first": dict.fromkeys(("patch", "grey", "random"), wilson(3, 7)) for i in range(24)}
    write_pdf(Document("A", "b", [Charts([rates_chart("Rates", "model", rates)], "Caption.")]), tmp_path / "x.pdf")
    with pypdfium2.PdfDocument(tmp_path / "x.pdf") as pdf:
        said = pdf[len(pdf) - 1].get_textpage().get_text_bounded()
    assert all(words in said for words in ("model 0", "model 23", "Caption."))


def test_no_sheet_looks_like_no_other_on_paper() -> None:
    chart = rates_chart("Rates", "model", {"m": {"patch": wilson(3, 7), "none": wilson(0, 7)}})
    patch, none = draw(chart).series
    assert (type(_dot(patch, 0, 0)), type(_dot(none, 0, 0))) == (Circle, PolyLine)


def test_a_field_of_view_that_was_given_is_reported(tmp_path: Path) -> None:
    for more, words in (
        ({}, "not recorded; a field of view is assumed"),
        ({"hfov_deg": 78.5}, "view of 78.5°, as given"),
    ):
        report = write_report(made_up(tmp_path / f"s{len(more)}", 6, **more))
        assert words in report.read_text()


def test_a_profile_that_nothing_would_use_is_refused(tmp_path: Path, command: Callable[..., CommandResult]) -> None:
    session = made_up(tmp_path / "s", 6)
    command("report", session, "--no-replay", "--profile", "rig.json").assert_refused(
        "--profile is for the replay of one"
    )
    command("report", session, tmp_path, "--profile", "rig.json").assert_refused("--profile is for the replay of one")


def test_blocks_are_drawn_alike_whatever_their_words(tmp_path: Path, page: Page) -> None:
    packed = cv2.imencode(".png", np.full((4, 4, 3), 90, np.uint8))[1].tobytes()
    wide = Table(
        [f"column {i}" for i in range(14)], [["a-word-that-does-not-break" * 2] + ["–"] * 13] * 60, frozenset({1})
    )
    blocks = [
        Heading("One"),
        Text("≥ 90 % & <more>"),
        wide,
        Picture(packed, "cells", 0.2, pixelated=True),
        Heading("Two", 2),
    ]
    write_html(Document("A", "b", blocks), tmp_path / "x.html")
    page.goto((tmp_path / "x.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390 and "≥ 90 % & <more>" in page.inner_text("body")
    write_pdf(Document("A", "b", blocks), tmp_path / "x.pdf")
    with pypdfium2.PdfDocument(tmp_path / "x.pdf") as pdf:
        assert len(pdf) > 1 and "≥ 90 % & <more>" in pdf[0].get_textpage().get_text_bounded()


def test_sessions_are_compared_with_their_difference(tmp_path: Path, page: Page) -> None:
    one, other = made_up(tmp_path / "before", 2, 20), made_up(tmp_path / "after", 18, 20)
    page.goto(write_comparison([one, other], tmp_path / "c.html", pdf=tmp_path / "c.pdf").as_uri())
    words = page.inner_text("body").replace("\N{NO-BREAK SPACE}", " ")
    assert re.search(
        r"after minus before\s+m\s+the target class came first\s+\+80\.0 points \[\+\d+\.\d, \+\d+\.\d\], n = 20\s+yes",
        words,
    )
    assert re.search(r"patch\s+10\.0 % .*\s+90\.0 % ", words)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390 and (tmp_path / "c.pdf").stat().st_size > 10_000


def test_a_comparison_says_which_session_a_rig_made(tmp_path: Path) -> None:
    folders = [made_up(tmp_path / name, 2) for name in ("rig", "scene", "camera")]
    for folder, source in zip(folders, ({"virtual": True}, {"virtual": True, "scene": "stand"}, {}), strict=True):
        record = json.loads((folder / "session.json").read_text())
        (folder / "session.json").write_text(json.dumps(record | source))
    text = write_comparison(folders, tmp_path / "c.html").read_text()
    assert text.count("come from the virtual rig") == text.count("come from the rendered rig") == 1


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    one = made_up(tmp_path / "one", 2)
    with pytest.raises(InputError, match="at least two runs or sessions"):
        write_comparison([one], tmp_path / "c.html")
    with pytest.raises(InputError, match="the same folder was given twice"):
        write_comparison([one, one], tmp_path / "c.html")
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match=r"neither a run .* nor a session"):
        write_comparison([one, tmp_path / "run"], tmp_path / "c.html")
    (tmp_path / "run/run.json").write_text("{}")
    with pytest.raises(InputError, match="different things and cannot be compared"):
        write_comparison([one, tmp_path / "run"], tmp_path / "c.html")
    with pytest.raises(InputError, match=r"neither a run .* nor a session"):
        write_report(tmp_path)
    with pytest.raises(InputError, match=r"run\.json is neither a run .* nor a session"):
        write_report(tmp_path / "run/run.json")


def test_a_session_without_its_run_is_reported_and_says_why_it_was_not_replayed(session: Path) -> None:
    said: list[str] = []
    text = write_report(session, replay=ReplayOptions(), say=said.append).read_text()
    assert said == [
        "not replayed: the run that trained the patch was moved or deleted, so its training settings are unknown"
    ]
    assert "the run that trained the patch was moved or deleted" in text


def test_an_untargeted_session_of_unknown_things_says_that_nothing_can_be_said(tmp_path: Path) -> None:
    with SessionStore(tmp_path / "session.db") as store:
        store.add([replace(frame_row(1, "none", 0, "red thing", None), success=None, target_score=None)])
    assert "No printed sheet was recognised in any frame." in write_report(tmp_path).read_text()


def test_parquet_holds_the_rows_with_their_types(session: Path) -> None:
    table = pandas.read_parquet(export_parquet(session))
    rows = read_rows(session)
    assert len(table) == len(rows) and list(table["model"]) == [row.model for row in rows]
    assert table["frame"].dtype == "int64" and table["distance_m"].dtype == "float64"
    assert table["success"].tolist() == [row.success for row in rows] and table["step"].isna().all()
    assert table["yaw_deg"].tolist() == pytest.approx([row.yaw_deg for row in rows], nan_ok=True)


@pytest.fixture
def whole(session: Path, tmp_path: Path) -> Path:
    """The session of a run that has the patch's files."""
    run = tmp_path / "run"
    vivid_patch().save(run)
    record = json.loads((session / "session.json").read_text()) | {"run": "../run"}
    (session / "session.json").write_text(json.dumps(record))
    (run / "run.json").write_text(json.dumps(FIRST_RUN))
    shutil.copy(tmp_path / "sheet.pdf", run)
    shutil.copy(run / "patch.png", run / "examples.png")
    return session


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("session/session.json", "[]", "session.json is not a valid record of a session: the file should be an object"),
        ("session/session.json", '{"version": 3, "frames": ', "session.json is not valid JSON"),
        (
            "session/session.json",
            '{"target": "blue thing", "intrinsics": {"fx": -1}}',
            "session.json is not a valid record of a session: intrinsics",
        ),
        ("session/session.json", '{"target": "blue thing", "plan": {"conditions": []}}', "a session: plan.distances_m"),
        ("run/run.json", "{}", "run.json is not a valid record of a run"),
        ("run/patch.json", '{"grid": 3}', "patch.json is not a patch file"),
        ("sheet.pdf", "%PDF-1.4 cut off", "sheet.pdf is not a readable PDF"),
        ("session/session.db", "not a database " * 300, "session.db is damaged"),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_is_reported(
    file: str, content: str, words: str, whole: Path, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(content)
    said: list[str] = []
    report = write_report(whole, say=said.append)
    text = html.unescape(report.read_text())
    assert words in text
    assert ("not whole" in " ".join(said)) == (not file.startswith("run/"))
    assert "What the camera saw" in text and "patch minus" in text.lower()
    if file == "session/session.db":
        assert "this uses frames.csv instead" in text
    (whole / "session.db").write_bytes(b"")
    (whole / "frames.csv").unlink()
    with pytest.raises(InputError, match=r"session\.db is empty: the session was ended before it began, or the disk"):
        write_report(whole)


def test_each_damaged_file_is_named(whole: Path) -> None:
    """With its record, a session lost its sheet, which was not looked at."""
    text = (whole / "session.json").read_text()
    (whole / "session.json").write_text(text[: len(text) // 2])
    session, damaged = RecordedSession.salvaged(whole)
    assert [words.partition(" is not ")[0] for words in damaged] == [str(whole / "session.json")]
    assert len(session.layouts) > 1 and session.sheet is not None and session.sheet.name == "sheet.pdf"
    (whole.parent / "sheet.pdf").write_bytes(b"")
    said: list[str] = []
    write_report(whole, replay=ReplayOptions(), say=said.append)
    for file in ("session.json", "sheet.pdf"):
        assert any(words.startswith("not whole: ") and f"{file} is not" in words for words in said)
    (whole / "session.db").write_bytes(b"")
    said.clear()
    write_report(whole, say=said.append)
    assert len([words for words in said if words.startswith("not whole: ")]) == 3
    assert said[-1] == "not written: result.json: it needs what is not whole"


def interval(rate: float, low: float, high: float) -> dict[str, object]:
    return {"rate": rate, "ci95": [low, high], "n": 20}


@pytest.mark.parametrize(
    ("patch", "grey", "change", "verdict", "steps"),
    [
        ((0.9, 0.7, 0.97), 0.0, (0.6, 0.97), "Yes", 2),
        ((0.25, 0.11, 0.47), 0.0, (0.1, 0.4), "Yes, at times", 3),
        ((0.25, 0.11, 0.6), 0.25, (-0.2, 0.2), "Not clear", 2),
        ((0.0, 0.0, 0.16), 0.0, (-0.1, 0.1), "Not shown", 3),
    ],
)
def test_a_runs_report_begins_with_its_answer(
    patch: tuple[float, float, float],
    grey: float,
    change: tuple[float, float],
    verdict: str,
    steps: int,
    tmp_path: Path,
    browser: Browser,
) -> None:
    """It had a title that asked, and no answer."""
    run = tmp_path / "my run"
    vivid_patch().save(run)
    difference = {"difference": sum(change) / 2, "ci95": list(change), "n": 20, "p_value": None}
    results = FIRST_RUN["results"] | {
        "targeted_success": interval(*patch),
        "control_targeted_success": {name: interval(grey, 0.0, 0.5) for name in ("grey", "random")},
        "differences": {"grey": {"targeted": difference, "untargeted": difference}},
    }
    record = FIRST_RUN | {"target": {"name": "clock", "index": 1}, "results": results}
    (run / "run.json").write_text(json.dumps(record))
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(write_report(run).as_uri())
    assert page.locator(".first .verdict").inner_text() == verdict
    assert "make efficientnet_lite0 see “clock”, on held-out photographs?" in page.locator(".question").inner_text()
    said = page.locator(".lead").inner_text()
    assert f"of 20 photographs{';' if verdict == 'Not shown' else ' ('}" in said
    assert ("no more than chance" in said) == (verdict == "Not clear")
    commands = page.locator(".next code").all_inner_texts()
    assert len(commands) == steps and all("my run" in command for command in commands)
    assert commands[0].endswith("run.json' --grid 20x20") == (steps == 3)
    box = page.locator(".next").bounding_box()
    assert box is not None and box["y"] + box["height"] <= 800
    page.close()


def test_the_next_command_is_one_that_works(tmp_path: Path, command: Callable[..., CommandResult]) -> None:
    """A training was suggested from a session whose record is damaged, and a print of a damaged patch."""
    session, run = made_up(tmp_path / "s", 6), tmp_path / "run"
    assert command("report", session, "--no-replay").err.endswith(f"Next: physpatch train --from-session {session}\n")
    (session / "session.json").write_text("[1")
    done = command("report", session, "--no-replay")
    assert done.code == 0 and done.err.endswith(
        f"Next, once what is not whole is restored: physpatch report {session}\n"
    )
    assert "--from-session" not in (session / "report.html").read_text()
    vivid_patch().save(run)
    (run / "run.json").write_text(json.dumps(FIRST_RUN))
    assert "Next: physpatch print" in command("report", run).err
    (run / "patch.json").write_text("{")
    assert command("report", run).err.endswith(f"Next, once what is not whole is restored: physpatch report {run}\n")


def test_a_session_in_which_nothing_counts_has_a_working_page(tmp_path: Path, page: Page) -> None:
    """A slider without marks ended the page's script and showed "undefined"."""
    session = made_up(tmp_path / "s", 2, clips=2, label="green thing")
    with closing(sqlite3.connect(session / "session.db")) as database, database:
        database.execute("UPDATE frames SET label = 'green thing'")
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    read(page, write_report(session))
    assert not troubles and "undefined" not in page.locator("main").inner_text()
    assert "No frame with the patch counts: not recognised with the grey control" in page.locator(".lead").inner_text()


def test_frames_of_curves_are_those_that_count(tmp_path: Path) -> None:
    """The map and the list of what is not counted had other numbers."""
    session = made_up(tmp_path / "s", 3, clips=6)
    with closing(sqlite3.connect(session / "session.db")) as database, database:
        database.execute("UPDATE frames SET label = 'green thing' WHERE clip >= 4")
    recorded = RecordedSession.open(session)
    curves = curves_of(recorded, "m", "target")[THRESHOLD]
    patch = next(curve for curve in curves if curve.condition == "patch")
    assert (patch.points[0].frames, patch.points[0].every_frames) == (12, 18)
    assert recorded.tally.exclusions("m") == {"not recognised with the grey control": 6}


@pytest.mark.parametrize(
    ("change", "words", "step"),
    [
        ({"status": "training"}, "Its training has not ended", "physpatch train --resume --out"),
        ({"status": "finished"}, "no labelled photographs", "physpatch evaluate"),
    ],
)
def test_a_run_that_was_not_measured_says_what_to_do(
    change: dict[str, str], words: str, step: str, tmp_path: Path, command: Callable[..., CommandResult]
) -> None:
    run = tmp_path / "run"
    vivid_patch().save(run)
    (run / "run.json").write_text(json.dumps(FIRST_RUN | {"results": {}} | change))
    done = command("report", run)
    text = html.unescape((run / "report.html").read_text())
    assert done.code == 0 and "Not measured yet" in text and words in text and f"{step} {run}" in text
    assert ("Next: physpatch train --resume" in done.err) == (change["status"] == "training")


@pytest.mark.parametrize("data", [b"rubbish", b"", None])
def test_a_damaged_picture_of_the_patch_is_named(data: bytes | None, whole: Path, tmp_path: Path) -> None:
    """The whole report was refused: cannot identify image file <_io.BytesIO object>."""
    picture = tmp_path / "run/patch.png"
    picture.write_bytes(picture.read_bytes()[:100] if data is None else data)
    text = html.unescape(write_report(whole).read_text())
    assert "patch.png" in text and "remove or replace it" in text


def test_a_defended_session_stands_beside_one_without(tmp_path: Path) -> None:
    """Both headlines were of the model alone, and nothing compared the two."""
    alone, defended = made_up(tmp_path / "alone", 6), made_up(tmp_path / "defended", 6)
    with closing(sqlite3.connect(defended / "session.db")) as database, database:
        names = [row[1] for row in database.execute("PRAGMA table_info(frames)") if row[1] != "model"]
        listed = ", ".join(names)
        database.execute(f"INSERT INTO frames ({listed}, model) SELECT {listed}, 'm+jpeg' FROM frames")
        database.execute("UPDATE frames SET top1 = 'red thing', success = 0 WHERE model = 'm+jpeg'")
    record = json.loads((defended / "session.json").read_text())
    weights = {"task": "classify", "source": "here", "sha256": "0" * 64}
    models = [{"name": "m"} | weights, {"name": "m+jpeg", "defence": "jpeg"} | weights]
    (defended / "session.json").write_text(json.dumps(record | {"models": models}))
    text = html.unescape(write_comparison([alone, defended], tmp_path / "both.html").read_text())
    assert "the same, behind the defence jpeg" in text
    row = text[text.index("m+jpeg, alone without the defence") :]
    assert re.search(r"-60\.0 points \[-\d", row[:400])


def test_a_session_without_its_database_is_reported_from_its_rows(whole: Path) -> None:
    write_report(whole)  # which exports them
    (whole / "session.db").unlink()
    said: list[str] = []
    write_report(whole, say=said.append)
    assert said[0].startswith("not whole: ") and "it has no session.db; this uses frames.csv instead" in said[0]


def test_objects_lost_are_drawn_by_size_where_several_sizes_count() -> None:
    def part(low: float, hits: int, n: int) -> ObjectSize:
        return ObjectSize(from_px=low, below_px=2 * low, success=wilson(hits, n), controls={"grey": wilson(0, n)})

    (charts,) = _by_size([part(10, 8, 9), part(20, 1, 9), part(40, 0, 0)])
    (chart,) = charts.items
    assert chart.title == "Objects lost, by size"
    assert [words for _, words in chart.ticks] == ["10 to 20 px", "20 to 40 px"]  # 40 to 80 does not count
    assert list(_by_size([part(10, 8, 9), part(40, 0, 0)])) == []


def test_few_clips_ask_for_many_more(tmp_path: Path) -> None:
    """None of 7 clips may be 35 %: nine do not tell that to ± 5 points."""
    text = html.unescape(write_report(made_up(tmp_path / "session", hits=0, clips=7)).read_text())
    table = next(table for table in re.findall(r"<table.*?</table>", text, re.S) if "clips for ± 5 points" in table)
    needed = int(re.findall(r">\s*([^<>]+?)\s*</td>", table.partition("target first")[2])[4])
    assert 33 <= needed <= 36
    assert "session session" not in text and f"of the session {tmp_path.name}/session" in text
    assert "-0" not in re.findall(r">([+-]?[\d.]+)<", text) and "+0.0" not in text and "ended: ended" not in text


@pytest.mark.parametrize("with_grey", [300, 160])
def test_a_patch_filmed_otherwise_than_its_control_is_told(tmp_path: Path, page: Page, with_grey: int) -> None:
    told = {"patch": {"exposure": 157, "white_balance": 4600}, "grey": {"exposure": with_grey, "white_balance": 4600}}
    read(page, write_report(made_up(tmp_path / "session", 6, told=told)))
    words = page.inner_text("body").replace("\N{NO-BREAK SPACE}", " ")
    sentence = "were not filmed alike: exposure 157 with the patch, 300 with grey, in the camera's units."
    assert (sentence in words) == (with_grey == 300) and ("filmed alike" in words) == (with_grey == 300)


def test_a_session_without_frames_says_so(tmp_path: Path) -> None:
    with SessionStore(tmp_path / "session.db"):
        pass
    assert "The session has no frames" in write_report(tmp_path).read_text()


def test_a_run_with_settings_of_another_version_is_reported_without_its_numbers(tmp_path: Path) -> None:
    vivid_patch().save(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(FIRST_RUN | {"config": {"smell": 3}}))
    text = html.unescape(write_report(tmp_path).read_text())
    assert "Not shown: unknown key 'smell'" in text and "What to do next" not in text


@pytest.mark.parametrize("name", ["patch.json", "examples.png", "sheet.pdf", "run.json"])
def test_a_damaged_file_of_a_run_is_named_and_the_rest_is_reported(name: str, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / name).write_bytes(b"\x00")
    text = html.unescape(write_report(run).read_text())
    assert text.count("Not shown: ") == 1 and f"{name}" in text
    assert ("Digitally on held-out photographs" in text) == (name != "run.json")


def test_a_session_is_read_where_nothing_can_be_written(session: Path) -> None:
    """A folder in place of SQLite's own file has the effect of a read-only disk, for root too."""
    rows = read_rows(session)
    before = {path.name: path.read_bytes() for path in session.glob("session.db*")}
    (session / "session.db-shm").mkdir()
    assert read_rows(session) == rows
    (session / "session.db-shm").rmdir()
    assert {path.name: path.read_bytes() for path in session.glob("session.db*")} == before
    with closing(sqlite3.connect(session / "session.db")) as killed:
        with killed:
            killed.execute("UPDATE frames SET light = 'lamp'")
        log = (session / "session.db-wal").read_bytes()
    (session / "session.db-wal").write_bytes(log)
    (session / "session.db").write_bytes(before["session.db"])
    (session / "session.db-shm").mkdir()
    assert {row.light for row in read_rows(session)} == {"lamp"}  # of a session that was killed, too


def test_a_report_goes_elsewhere_if_the_session_cannot_be_written(session: Path, tmp_path: Path) -> None:
    for name in ("frames.csv", "frames.parquet", "report.html"):
        (session / name).unlink(missing_ok=True)
        (session / name).mkdir()
    with pytest.raises(InputError, match=r"report\.html is a folder"):
        write_report(session)
    said: list[str] = []
    assert write_report(session, tmp_path / "elsewhere/report.html", say=said.append).is_file()
    assert len(said) == 2 and re.search(r"not written, and not needed .*frames\.csv \(Is a directory\)", said[0])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"report\.html cannot be written \(.*\); use another --out"):
        write_report(session, tmp_path / "file/report.html")
