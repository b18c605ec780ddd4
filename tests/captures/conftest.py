"""A browser for reports, and a filmed session to report on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from support import BLUE, CHROMIUM, make_tiny_victim

from captures.session.live_session import SessionConfig, run_session
from captures.sources.virtual_rig import VirtualRig


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium here: install Debian's chromium to test the report in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A phone's, and it tells of every error."""
    page = browser.new_page(viewport={"width": 390, "height": 844}, is_mobile=True)
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else pytest.fail(request.url))
    yield page
    page.close()


@pytest.fixture(scope="module")
def filmed(shared_sheet_pdf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real session of the tiny victim before the virtual rig, beside its sheet."""
    folder = tmp_path_factory.mktemp("filmed")
    shutil.copy(shared_sheet_pdf, folder)
    for name, color in {"red": (30, 30, 220), "green": (30, 220, 30)}.items():
        cv2.imwrite(str(folder / f"{name}.png"), np.full((480, 640, 3), color, np.uint8))
    behind = [(folder / "red.png", "red thing"), (folder / "green.png", "green thing")]
    rig = VirtualRig(folder / "sheet.pdf", behind, clips=4, frames_per_clip=2)
    config = SessionConfig(
        classifier=make_tiny_victim(),
        layouts=rig.layouts,
        intrinsics=rig.intrinsics,
        target=BLUE,
        notes={"virtual": True, "sheet": "../sheet.pdf"},
    )
    run_session(rig, config, folder / "session")
    return folder


@pytest.fixture
def session(filmed: Path, tmp_path: Path) -> Path:
    """A copy of it, to write into."""
    shutil.copytree(filmed, tmp_path, dirs_exist_ok=True)
    return tmp_path / "session"
