"""The server's page in headless Chromium: a file, a drop or a microphone in, predictions out."""

import contextlib
import json
import re
import shutil
import threading
from pathlib import Path

import pytest
import soundfile
from servers import CORPUS, recognizer, reverse_proxy, running, speech, until

from ser_jax.probe import Probe
from ser_jax.recognizer import Recognizer

expect = pytest.importorskip("playwright.sync_api").expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
expect.set_options(timeout=15_000)
EVIL = "<img src=x onerror=alert(1)>.wav"

OPEN = "document.querySelectorAll('details').forEach((it) => { it.open = true; })"
DROP = """([content, name]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(content)], name));
  for (const kind of ["dragenter", "dragover", "drop"])
    document.querySelector("h1").dispatchEvent(
      new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
}"""
PIXELS = """it => {
  const { data } = it.getContext("2d").getImageData(0, 0, it.width, it.height);
  return [new Set(new Uint32Array(data.buffer)).size, data.reduce((sum, x) => sum + x, 0) / data.length];
}"""
FOCUS = """() => {
  const it = document.activeElement, label = document.querySelector(`label[for="${it.id}"]`);
  const outlined = getComputedStyle(it.classList.contains("visually-hidden") ? label : it);
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
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const it = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || it.tagName === "SCRIPT" || !it.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(it).color), light(behind(it))];
    found.push([walk.currentNode.data.trim(), (Math.max(a, b) + .05) / (Math.min(a, b) + .05)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def model(hastily):
    return recognizer(("arousal", "four", "dimensions"), seeds=3, channels=8)


@pytest.fixture(scope="module")
def server(model):
    with running(model) as started:
        yield started


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    soundfile.write(folder / "speech.wav", speech(5.3), 16_000)
    soundfile.write(folder / "long.flac", speech(70), 16_000)
    (folder / "bad.wav").write_bytes(b"no sound at all")
    return folder


@pytest.fixture(scope="module")
def browser(sounds):
    """A browser whose microphone plays a file."""
    from playwright.sync_api import sync_playwright

    media = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    sound = f"--use-file-for-fake-audio-capture={sounds / 'speech.wav'}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", sound, *media])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Open a server's page; afterwards check that it loaded nothing else and that nothing went wrong."""
    wrong = []
    with contextlib.ExitStack() as contexts:

        def visit(address, width=1000, quiet=True, **options):
            options = {"reduced_motion": "reduce", "color_scheme": "light", **options}
            context = browser.new_context(viewport={"width": width, "height": 800}, **options)
            contexts.callback(context.close)
            context.set_default_timeout(15_000)
            page = context.new_page()

            def on_request(request):
                if not request.url.startswith((f"{address}/", f"blob:{page.evaluate('origin')}/", "data:")):
                    wrong.append(request.url)

            page.on("pageerror", lambda error: wrong.append(str(error)))
            if quiet:
                page.on("console", lambda message: wrong.append(message.text))
            page.goto(f"{address}/")
            page.on("request", on_request)
            expect(page.locator("#model")).to_contain_text("random")
            return page

        yield visit
    assert wrong == []


def upload(page, path):
    page.get_by_label("Choose a file").set_input_files(path)
    expect(page.locator("#result-title")).to_have_text(Path(path).name)
    expect(page.locator("#busy")).to_be_hidden()
    return page


def number(estimate, name):
    """Return a value as the page writes it."""
    if "values" in estimate:
        return f"{estimate['values'][name]:.2f} ± {estimate['spread'][name]:.2f}".replace(
            "-", "\N{MINUS SIGN}"
        )
    return f"{round(100 * estimate['probabilities'][name])} % ± {round(100 * estimate['spread'][name])}"


def test_a_file_is_predicted(visit, server, model, sounds):
    page = visit(server.address)
    expect(page.locator("#result")).to_be_hidden()
    expect(page.get_by_role("note")).to_contain_text("predictions for real voices mean nothing")
    upload(page, sounds / "speech.wav")
    tasks = model(sounds / "speech.wav").as_dict("speech.wav")["tasks"]
    label = tasks["arousal"]["class"]
    said = (
        f"speech.wav: arousal: {label}, {number(tasks['arousal'], label)}; four: {tasks['four']['class']}, "
    )
    expect(page.get_by_role("status")).to_contain_text(said)
    for name, estimate in tasks.items():
        own = page.locator("article", has=page.get_by_role("heading", name=name.capitalize(), exact=True))
        expect(own.locator(".label")).to_have_text([estimate["class"]] if "class" in estimate else [])
        values = estimate.get("probabilities") or estimate["values"]
        expect(own.get_by_role("row")).to_have_text([f"{key}{number(estimate, key)}" for key in values])
    place = page.locator(".bar .spread").first.evaluate(
        "it => [it.style.left, it.style.width].map(parseFloat)"
    )
    p, s = tasks["arousal"]["probabilities"]["low"], tasks["arousal"]["spread"]["low"]
    low, high = max(0, p - s), min(1, p + s)
    assert place == pytest.approx([100 * low, 100 * (high - low)], abs=1e-3)
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as JSON").click()
    assert download.value.suggested_filename == "speech.wav.json"
    saved = json.loads(Path(download.value.path()).read_text())
    assert saved == model(sounds / "speech.wav").as_dict("speech.wav")


def test_the_attention_of_each_task_is_drawn_and_listed(visit, server, model, sounds):
    page = upload(visit(server.address), sounds / "speech.wav")
    page.evaluate(OPEN)
    pictures = set()
    for task, estimate in model(sounds / "speech.wav").tasks.items():
        page.get_by_role("radio", name=task).check(force=True)
        picture = page.get_by_role("img")
        expect(picture).to_have_attribute("aria-label", re.compile(f"Attention for {task} is strongest at"))
        pictures.add(picture.screenshot())
        rows = page.get_by_role("region", name="Attention").get_by_role("row").all_inner_texts()[1:]
        inside = [segment.weight for segment in estimate.attention if segment.start < 5.3]
        assert [float(row.split("\t")[1].split()[0]) for row in rows] == pytest.approx(
            [100 * weight for weight in inside], abs=0.051
        )
        padding = round(100 * (1 - sum(inside)))
        expect(page.locator("#caption")).to_contain_text(
            f"{padding}\N{NO-BREAK SPACE}% of it lies on the padding"
        )
    assert len(pictures) == 3
    assert page.locator("canvas").evaluate(PIXELS)[0] > 100  # colours


def test_windows_are_listed_if_there_are_several(visit, server, model, sounds):
    page = upload(visit(server.address), sounds / "speech.wav")
    expect(page.locator("#windows")).to_be_hidden()
    upload(page, sounds / "long.flac")
    windows = model(sounds / "long.flac").windows
    page.get_by_text(f"{len(windows)} windows").click()
    rows = page.get_by_role("region", name="Windows").get_by_role("row")
    expect(rows).to_have_count(len(windows) + 1)
    expect(rows.nth(2)).to_contain_text("0:03.6 \N{EN DASH} 0:11.1")
    expect(page.locator("#length")).to_have_text("1:10.0")


def test_a_file_can_be_dropped_and_its_name_is_not_markup(visit, server, sounds):
    page = visit(server.address)
    page.evaluate(DROP, [list((sounds / "speech.wav").read_bytes()), EVIL])
    expect(page.locator("#result-title")).to_have_text(EVIL)
    expect(page.get_by_role("status")).to_contain_text(EVIL)
    assert page.locator("img").count() == 0


def test_it_works_behind_a_reverse_proxy_with_a_prefix(visit, server, sounds):
    with reverse_proxy(server.address, "/team/ser", keeps_host=False) as address:
        page = upload(visit(address), sounds / "speech.wav")
        expect(page.get_by_role("status")).to_contain_text("speech.wav: arousal")


@pytest.mark.parametrize(("motion", "animation"), [("reduce", "none"), ("no-preference", "pulse")])
def test_the_microphone_is_recorded_predicted_and_played(visit, server, motion, animation):
    page = visit(server.address, permissions=["microphone"], reduced_motion=motion)
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_role("timer")).to_have_text("0:01 of 1:00")
    assert page.locator(".dot").evaluate("it => getComputedStyle(it).animationName") == animation
    level = page.locator("#level")
    until(lambda: float(re.search(r"[\d.]+", level.get_attribute("style"))[0]) > 0.1)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#result-title")).to_have_text("recording.wav")
    expect(page.get_by_role("button", name="Record")).to_be_visible()
    audio = page.locator("audio")
    until(lambda: audio.evaluate("it => it.duration") > 0)
    seconds = audio.evaluate("it => it.duration")
    assert 1 <= seconds < 10
    expect(page.locator("#length")).to_have_text(f"{seconds:.1f} s")
    audio.evaluate("it => { it.currentTime = 0.5; }")
    expect(page.locator("#cursor")).to_be_visible()


@pytest.mark.parametrize(
    ("devices", "sentence"),
    [
        ("{ getUserMedia: () => Promise.reject(new DOMException('', 'NotAllowedError')) }", "is blocked"),
        ("{ getUserMedia: () => Promise.reject(new DOMException('', 'NotFoundError')) }", "no microphone."),
        ("undefined", "Browsers give the microphone only to pages of this computer"),
    ],
)
def test_without_a_microphone_the_page_says_why(visit, server, devices, sentence):
    page = visit(server.address)
    page.evaluate(f"() => Object.defineProperty(navigator, 'mediaDevices', {{ value: {devices} }})")
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    expect(page.get_by_role("button", name="Record")).to_be_visible()


def test_after_refused_files_comes_a_good_one(visit, model, sounds):
    with running(model, megabytes=1) as small:
        page = visit(small.address, quiet=False)  # the console reports the status 422
        alert = page.get_by_role("alert")
        page.get_by_label("Choose a file").set_input_files(sounds / "bad.wav")
        expect(alert).to_contain_text(re.compile(r"^bad\.wav: .*expected WAV, AIFF, FLAC, OGG or MP3\.$"))
        expect(page.locator("#result")).to_be_hidden()
        huge = {"name": "huge.wav", "mimeType": "audio/wav", "buffer": bytes(1_200_000)}
        page.get_by_label("Choose a file").set_input_files(huge)
        expect(alert).to_have_text("huge.wav: 1.2 MB, expected at most 1 MB.")
        upload(page, sounds / "speech.wav")
        expect(alert).to_be_empty()


def test_requests_can_be_cancelled_and_a_stopped_server_is_reported(visit, model, sounds):
    release = threading.Event()

    class Slow(Recognizer):
        def predict(self, recordings, hop=None, check=None):
            release.wait(30)
            return super().predict(recordings, hop, check)

    with running(Slow(model.model)) as slow:
        page = visit(slow.address, quiet=False)
        page.get_by_label("Choose a file").set_input_files(sounds / "speech.wav")
        expect(page.get_by_role("progressbar", name="Predicting")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("status")).to_have_text("Cancelled.")
        expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
        release.set()
    page.get_by_label("Choose a file").set_input_files(sounds / "speech.wav")
    expect(page.get_by_role("alert")).to_contain_text("Is ser-jax serve still running?")


def test_one_task_one_seed_and_no_attention_show_less(visit, sounds):
    facts = {"name": "random", "synthetic": False, "note": "<b>bold</b>", "corpora": [CORPUS]}
    with running(recognizer(("arousal",), 1, facts, Probe)) as other:
        page = upload(visit(other.address), sounds / "speech.wav")
        status = page.get_by_role("status")
        expect(status).to_have_text(re.compile(r"^speech\.wav: arousal: \w+, \d+\W%\.$"))
        expect(page.locator(".spread")).to_have_count(0)
        expect(page.get_by_role("radio")).to_have_count(0)
        expect(page.get_by_role("note")).to_be_hidden()
        expect(page.locator("#segments")).to_be_hidden()
        expect(page.locator("#caption")).to_contain_text("no attention")
        expect(page.get_by_role("definition").filter(has_text="<b>bold</b>")).to_be_visible()
        row = page.get_by_role("region", name="Corpora").get_by_role("row").nth(1)
        expect(row).to_have_text("made_upyesde, fr12,345 utterances")


def test_light_and_dark_differ_and_are_readable(visit, server, sounds):
    brightness = []
    for scheme in ("light", "dark"):
        page = visit(
            server.address, color_scheme=scheme, quiet=False
        )  # the console advises about reading pixels
        page.get_by_label("Choose a file").set_input_files(sounds / "bad.wav")
        expect(page.get_by_role("alert")).not_to_be_empty()
        contrast = page.evaluate(CONTRAST)
        upload(page, sounds / "long.flac")
        page.evaluate(OPEN)
        contrast += page.evaluate(CONTRAST)
        assert len(contrast) > 50
        assert [(text, ratio) for text, ratio in contrast if ratio < 4.5] == []
        brightness.append(page.locator("canvas").evaluate(PIXELS)[1])
    assert brightness[0] != brightness[1]
    page.emulate_media(color_scheme="light")  # the drawing follows
    until(lambda: page.locator("canvas").evaluate(PIXELS)[1] == pytest.approx(brightness[0], rel=0.01))


@pytest.mark.parametrize("width", [320, 360])
def test_a_phone_needs_no_scrolling_sideways(visit, server, sounds, width):
    page = upload(visit(server.address, width=width, has_touch=True, is_mobile=True), sounds / "long.flac")
    page.evaluate(OPEN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.locator("h1, .card, .button, article, article table, canvas, audio, summary").evaluate_all(
        "(all) => all.filter((it) => it.getBoundingClientRect().right > innerWidth).length"
    )
    assert outside == 0
    for button in page.locator(".button:visible").all():
        assert button.bounding_box()["height"] >= 44


def test_everything_is_reached_by_keyboard_and_has_a_name(visit, server, sounds):
    page = upload(visit(server.address), sounds / "long.flac")
    page.mouse.click(1, 1)  # some versions of Chromium start tabbing elsewhere after an upload
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name, is_outlined = page.evaluate(FOCUS)
        if name in ("BODY", *seen[:1]):
            break
        if name not in seen:
            seen.append(name)
            assert is_outlined, f"{name} shows no focus"
    assert seen[:4] == ["file", "record", "audio", "show-arousal"]
    assert {"SUMMARY", "save", "A"} <= set(seen)
    page.locator("#show-arousal").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("img")).to_have_attribute("aria-label", re.compile("Attention for four"))
    page.locator("#windows summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Windows")).to_be_visible()
    tree = page.locator("body").aria_snapshot()
    assert not re.findall(r"- (?:button|link|radio|img|progressbar|region)(?::| *$)", tree, re.MULTILINE), (
        tree
    )
    for expected in ('button "Choose a file"', 'button "Record"', 'radio "arousal"', 'link "Save as JSON"',
                     'group "Show"', 'heading "long.flac"'):  # fmt: skip
        assert expected in tree, tree
