"""Drive a page in headless Chromium, in a Python that has Playwright: one JSON request on stdin, one answer on stdout.

The request has the folders to serve, {"/path": folder}, and the steps: [name, arguments...]. The answer has what each
step returned.
"""

import functools
import http.server
import json
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".tflite": "application/octet-stream",
}
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
SOFTWARE_GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves several folders, quietly."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | TYPES

    def __init__(self, *args: Any, folders: dict[str, str], **kwargs: Any) -> None:
        self.folders = folders
        super().__init__(*args, **kwargs)

    def translate_path(self, path: str) -> str:
        path = path.split("?")[0]
        place = max((start for start in self.folders if path.startswith(start)), key=len)
        file = Path(self.folders[place], path.removeprefix(place).lstrip("/"))
        return str(file / "index.html" if file.is_dir() else file)

    def log_message(self, *args: Any) -> None:
        pass


class Steps:
    """What can be done with a page."""

    def __init__(self, page: Page, server: http.server.ThreadingHTTPServer) -> None:
        self.page, self.server = page, server

    def open(self, path: str) -> None:
        self.page.goto(f"http://127.0.0.1:{self.server.server_port}{path}")
        self.page.wait_for_selector("body[data-ready]", state="attached", timeout=60_000)

    def classify(self, image: str) -> dict[str, str]:
        """Choose a file: the answers that the page shows, {name: percent}."""
        self.page.evaluate("document.getElementById('answers').replaceChildren()")
        self.page.set_input_files("#file", image)
        self.page.wait_for_selector("#answers li", timeout=60_000)
        return self.answers()

    def answers(self) -> dict[str, str]:
        rows = "[...document.querySelectorAll('#answers li')].map(li => [...li.children].map(it => it.textContent))"
        return {name: percent for name, percent, _ in self.page.evaluate(rows)}

    def refused(self, file: str) -> str:
        self.page.set_input_files("#file", file)
        self.page.wait_for_selector("#error:not([hidden])")
        return self.page.inner_text("#error")

    def accelerator(self, value: str) -> None:
        self.page.select_option("#accelerator", value)
        self.page.wait_for_function("/Ready|classified/.test(document.getElementById('status').textContent)")

    def camera(self) -> dict[str, str]:
        """Start the camera by the keyboard: its answers; then stop it."""
        self.page.evaluate("document.getElementById('answers').replaceChildren()")
        self.page.locator("#camera").focus()
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("#answers li", timeout=60_000)
        found = self.answers()
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("#video", state="hidden")
        return found

    def drop(self, image: str, event: str) -> dict[str, str]:
        """Drop or paste a file on the page."""
        self.page.evaluate("document.getElementById('answers').replaceChildren()")
        content = list(Path(image).read_bytes())
        self.page.evaluate(
            """([content, name, event]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(content)], name, { type: "image/jpeg" }));
                const init = { bubbles: true, cancelable: true };
                document.dispatchEvent(event === "drop"
                    ? new DragEvent("drop", { ...init, dataTransfer: data })
                    : new ClipboardEvent("paste", { ...init, clipboardData: data }));
            }""",
            [content, Path(image).name, event],
        )
        self.page.wait_for_selector("#answers li", timeout=60_000)
        return self.answers()

    def offline(self) -> None:
        """Wait until the page is kept, end the server, and load the page again."""
        self.page.wait_for_selector("body[data-kept]", state="attached", timeout=60_000)
        self.page.context.set_offline(True)
        self.server.shutdown()
        self.page.reload()
        self.page.wait_for_selector("body[data-ready]", state="attached", timeout=60_000)

    def tab_order(self) -> list[str]:
        """The ids of what the tabulator reaches, in order."""
        self.page.evaluate("document.activeElement.blur()")
        found = []
        for _ in range(6):
            self.page.keyboard.press("Tab")
            found.append(self.page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        return found

    def screenshot(self, path: str, width: int, height: int, scheme: str) -> None:
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(color_scheme=scheme)
        self.page.screenshot(path=path)

    def evaluate(self, script: str, *arguments: Any) -> Any:
        return self.page.evaluate(script, list(arguments))


def main() -> None:
    request = json.load(sys.stdin)
    handler = functools.partial(Handler, folders=request["folders"])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    arguments = ["--no-sandbox", *FAKE_CAMERA, *(SOFTWARE_GPU if request.get("gpu") else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        page = browser.new_page(viewport={"width": 390, "height": 844})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        asked: list[str] = []
        page.on("request", lambda it: asked.append(it.url))
        steps = Steps(page, server)
        returned = [getattr(steps, name)(*arguments) for name, *arguments in request["steps"]]
        elsewhere = [
            url for url in asked if not url.startswith((f"http://127.0.0.1:{server.server_port}/", "blob:", "data:"))
        ]
        print(json.dumps({"steps": returned, "problems": problems, "elsewhere": elsewhere, "browser": browser.version}))
        browser.close()


if __name__ == "__main__":
    main()
