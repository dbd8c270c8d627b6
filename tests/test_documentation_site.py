"""The documentation as it is built: its pages load nothing from the network."""

import functools
import http.server
import importlib.util
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest
from documentation import DOCS, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as make docs builds it."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("needs mkdocs-material and mkdocstrings: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return folder


class _Loads(HTMLParser):
    """Collects the addresses that a browser loads by itself; those of <a> are loaded when somebody clicks."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("src", "srcset", "data", "poster", "action") or (tag == "link" and name == "href"):
                self.found.append(value or "")


def test_built_pages_name_nothing_elsewhere_to_load(site: Path) -> None:
    """Oracle: the HTML parser of the standard library, and the addresses in style sheets."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= len(list(DOCS.glob("*.md")))
    for page in pages:
        parser = _Loads()
        parser.feed(page.read_text())
        assert parser.found
        assert not [address for address in parser.found if re.match(r"(https?:)?//", address)]
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text())


@pytest.mark.slow  # builds all pages and opens them
def test_built_pages_load_nothing_from_elsewhere(site: Path) -> None:
    """Oracle: the requests that a browser makes."""
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("needs a browser: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    requested: list[str] = []
    with served(site) as address, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.on("request", lambda request: requested.append(request.url))
        for page in sorted(site.glob("*.html")):
            tab.goto(f"{address}/{page.name}")
        browser.close()
    assert len(requested) > len(list(site.glob("*.html")))
    assert not [url for url in requested if not url.startswith((address, "data:", "blob:"))]


class served:  # noqa: N801, a context manager
    """A folder at an address of this machine."""

    def __init__(self, folder: Path) -> None:
        handler = functools.partial(_Quiet, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
