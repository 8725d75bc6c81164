"""Visits to the server's page in headless Chromium, and what is done in them."""

import contextlib
import shutil
from pathlib import Path

import pytest
import recognisers
import soundfile

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
expect.set_options(timeout=15_000)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# What is asked of a page in its own language.
OPEN = "document.querySelectorAll('details').forEach((it) => { it.open = true; })"
PLACE = "it => [it.style.left, it.style.width].map(parseFloat)"
DROP = """([content, name]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(content)], name));
  for (const kind of ["dragenter", "dragover", "drop"])
    document.querySelector("h1").dispatchEvent(
      new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
}"""
COLOURS = """it => {
  const { data } = it.getContext("2d").getImageData(0, 0, it.width, it.height);
  return new Set(new Uint32Array(data.buffer)).size;
}"""
FOCUS = """() => {
  const it = document.activeElement, label = document.querySelector(`label[for="${it.id}"]`);
  const outlined = getComputedStyle(it.classList.contains("quiet") ? label : it);
  return [it.id || it.tagName, outlined.outlineStyle !== "none"];
}"""
CONTRAST = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => parts(colour).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = (it) => {
    for (; it; it = it.parentElement) {
      const colour = getComputedStyle(it).backgroundColor;
      if ((parts(colour)[3] ?? 1) === 1) return colour;
    }
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const it = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || it.tagName === "SCRIPT" || !it.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(it).color), light(behind(it))];
    found.push([walk.currentNode.data.trim(), (Math.max(a, b) + .05) / (Math.min(a, b) + .05)]);
  }
  return found;
}"""


def sounds(folder):
    """Files by name."""
    soundfile.write(folder / "speech.wav", recognisers.speech(5.3), 16_000)
    soundfile.write(folder / "long.flac", recognisers.speech(70), 16_000)
    soundfile.write(folder / "microphone.wav", recognisers.speech(4), 16_000)
    (folder / "bad.wav").write_bytes(b"no sound at all")
    return folder


@contextlib.contextmanager
def chromium(sounds):
    """A browser whose microphone hears a file."""
    arguments = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={sounds / 'microphone.wav'}",
    ]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@contextlib.contextmanager
def visits(browser):
    """Opens the page of a server; in the end nothing was asked for elsewhere and nothing has gone wrong."""
    contexts, wrong = [], []

    def visit(server, width=1000, quiet=True, **options):
        options = {"reduced_motion": "reduce", "color_scheme": "light", **options}
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()

        def on_request(request):
            if not request.url.startswith((f"{server.address}/", f"blob:{server.address}/", "data:")):
                wrong.append(request.url)

        page.on("request", on_request)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        if quiet:
            page.on("console", lambda message: wrong.append(message.text))
        page.goto(f"{server.address}/")
        expect(page.locator("#model")).to_contain_text("by-lot")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


def words(said, classes):
    """What the page says of an estimate."""
    part = said["probability"] if said["class"] == classes[1] else 1 - said["probability"]
    return f"{said['class']}, {round(100 * part)} % ± {round(100 * said['spread'])}"


def upload(page, path):
    page.get_by_label("Choose a file").set_input_files(path)
    expect(page.locator("#result-title")).to_have_text(Path(path).name)
    expect(page.locator("#busy")).to_be_hidden()
    return page
