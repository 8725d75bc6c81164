"""The server's page in headless Chromium: a file, a drop or a microphone in, predictions out."""

import contextlib
import dataclasses
import json
import re
import shutil
import sys
import threading
from pathlib import Path

import pytest
import soundfile
from encoding import encode
from recognisers import FACTS, drawn, recogniser, speech
from servers import reverse_proxy, running, until

from ser_jax.model import Probe
from ser_jax.recognizer import Recognizer

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
expect.set_options(timeout=15_000)

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
  return [it.id || it.tagName, getComputedStyle(label ?? it).outlineStyle !== "none"];
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
    return recogniser(tasks=("arousal", "dimensions", "emotion"), seeds=2, channels=8)


@pytest.fixture(scope="module")
def address(model):
    model.compile()
    with running(model) as started:
        yield started.address


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    for name, seconds in {"short.wav": 0.6, "speech.wav": 5.3, "long.flac": 61}.items():
        soundfile.write(folder / name, speech(seconds), 16_000)
    (folder / "bad.wav").write_bytes(b"no sound at all")
    return folder


@pytest.fixture(scope="module")
def browser(sounds):
    """A browser whose microphone plays a file."""
    media = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    sound = f"--use-file-for-fake-audio-capture={sounds / 'speech.wav'}"
    with sync_api.sync_playwright() as playwright:
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
            page = context.new_page()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda message: wrong.append(message.text) if quiet else None)
            known = (f"{address}/", f"blob:{address[:20]}", "data:")
            page.on("request", lambda it: None if it.url.startswith(known) else wrong.append(it.url))
            page.goto(f"{address}/")
            expect(page.locator("#model")).to_contain_text("random")
            return page

        yield visit
    assert wrong == []


def choose(page, file):
    page.get_by_label("Choose a file").set_input_files(file)


def upload(page, path):
    choose(page, path)
    expect(page.locator("#result-title")).to_have_text(path.name)
    expect(page.locator("#busy")).to_be_hidden()
    return page


def number(estimate, name):
    """Return a value as the page writes it."""
    spread = estimate["spread"][name]
    if "values" in estimate:
        return f"{estimate['values'][name]:.2f} ± {spread:.2f}".replace("-", "\N{MINUS SIGN}")
    return f"{round(100 * estimate['probabilities'][name])} % ± {round(100 * spread)}"


def test_a_file_is_predicted(visit, address, model, sounds):
    page = visit(address)
    expect(page.locator("#result")).to_be_hidden()
    expect(page.get_by_role("note")).to_contain_text("predictions of this model for real voices mean nothing")
    upload(page, sounds / "speech.wav")
    prediction = model(sounds / "speech.wav").as_dict("speech.wav")
    for name, estimate in prediction["tasks"].items():
        own = page.locator("article", has=page.get_by_role("heading", name=name.capitalize(), exact=True))
        expect(own.locator(".label")).to_have_text([estimate["class"]] if "class" in estimate else [])
        values = estimate.get("probabilities") or estimate["values"]
        expect(own.get_by_role("row")).to_have_text([f"{key}{number(estimate, key)}" for key in values])
    arousal = prediction["tasks"]["arousal"]
    sentence = f"speech.wav: arousal: {arousal['class']}, {number(arousal, arousal['class'])}; dimensions: "
    expect(page.get_by_role("status")).to_contain_text(sentence)
    place = "({ style }) => [style.left, style.width].map(parseFloat)"
    p, s = arousal["probabilities"]["low"], arousal["spread"]["low"]
    low, high = max(0, p - s), min(1, p + s)
    spread = page.locator(".bar .spread").first.evaluate(place)
    assert spread == pytest.approx([100 * low, 100 * (high - low)], abs=1e-3)
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as JSON").click()
    assert download.value.suggested_filename == "speech.wav.json"
    assert json.loads(Path(download.value.path()).read_text()) == prediction


def test_attention_and_windows_are_drawn_and_listed(visit, address, model, sounds):
    page = upload(visit(address), sounds / "speech.wav")
    page.evaluate(OPEN)
    pictures = set()
    for task, estimate in model(sounds / "speech.wav").tasks.items():
        page.locator(f"label[for=show-{task}]").click()
        picture = page.get_by_role("img")
        expect(picture).to_have_attribute("aria-label", re.compile(f"Attention for {task} is strongest at"))
        pictures.add(picture.screenshot())
        rows = page.get_by_role("region", name="Attention").get_by_role("row").all_inner_texts()[1:]
        inside = [100 * segment.weight for segment in estimate.attention if segment.start < 5.3]
        weights = [float(row.split("\t")[1].split()[0]) for row in rows]
        assert weights == pytest.approx(inside, abs=0.051)
        padding = f"{round(100 - sum(inside))}\N{NO-BREAK SPACE}% of it lies on the padding"
        expect(page.locator("#caption")).to_contain_text(padding)
    assert len(pictures) == 3
    assert page.locator("canvas").evaluate(PIXELS)[0] > 100  # colours
    expect(page.locator("#windows")).to_be_hidden()
    upload(page, sounds / "long.flac")
    expect(page.locator("#length")).to_have_text("1:01.0")
    windows = model(sounds / "long.flac").windows
    expect(page.locator("#windows summary")).to_have_text(f"{len(windows)} windows")
    rows = page.get_by_role("region", name="Windows").get_by_role("row")
    expect(rows).to_have_count(len(windows) + 1)
    expect(rows.nth(2)).to_contain_text("0:03.6 \N{EN DASH} 0:11.1")


def test_a_file_can_be_dropped_behind_a_reverse_proxy_and_its_name_is_not_markup(visit, address, sounds):
    with reverse_proxy(address, "/team/ser", keeps_host=False) as proxy:
        page, name = visit(proxy), "<img src=x onerror=alert(1)>.wav"
        page.evaluate(DROP, [list((sounds / "short.wav").read_bytes()), name])
        expect(page.locator("#result-title")).to_have_text(name)
        expect(page.get_by_role("status")).to_contain_text(name)
        assert page.locator("img").count() == 0


def test_the_browser_decodes_what_the_server_does_not(visit, address, sounds, monkeypatch):
    encode(sounds / "phone.webm", "webm", "libopus", 48_000, speech(5.3))
    monkeypatch.setitem(sys.modules, "av", None)
    page = visit(address, quiet=False)  # the console reports the status 422
    assert page.locator("#file").get_attribute("accept").startswith("audio/*,.wav,")
    upload(page, sounds / "phone.webm")
    expect(page.locator("#length")).to_have_text("5.3 s")
    expect(page.get_by_role("alert")).to_be_empty()


def test_the_microphone_is_recorded_predicted_and_played(visit, address):
    page = visit(address, permissions=["microphone"])
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_role("timer")).to_have_text("0:01 of 1:00")
    for motion, animation in (("reduce", "none"), ("no-preference", "pulse")):
        page.emulate_media(reduced_motion=motion)
        assert page.locator(".dot").evaluate("it => getComputedStyle(it).animationName") == animation
    until(lambda: page.locator("#level").evaluate("it => it.getBoundingClientRect().width") > 20)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#result-title")).to_have_text("recording.wav")
    expect(page.get_by_role("button", name="Record")).to_be_visible()
    audio = page.locator("audio")
    until(lambda: audio.evaluate("it => it.duration") > 1)
    expect(page.locator("#length")).to_have_text(f"{audio.evaluate('it => it.duration'):.1f} s")
    audio.evaluate("it => { it.currentTime = 0.5; }")
    expect(page.locator("#cursor")).to_be_visible()


def test_without_a_microphone_the_page_says_why(visit, address):
    page = visit(address)
    for error, sentence in (
        ("NotAllowedError", "The microphone is blocked"),
        ("NotFoundError", "There is no microphone."),
        (None, "Browsers give the microphone only to pages of this computer"),
    ):
        rejected = f"{{ getUserMedia: () => Promise.reject(new DOMException('', '{error}')) }}"
        given = f"{{ value: {rejected if error else 'undefined'}, configurable: true }}"
        page.evaluate(f"() => Object.defineProperty(navigator, 'mediaDevices', {given})")
        page.get_by_role("button", name="Record").click()
        expect(page.get_by_role("alert")).to_contain_text(sentence)


def test_after_refused_files_comes_a_good_one(visit, model, sounds):
    with running(model, megabytes=1) as small:
        page = visit(small.address, quiet=False)  # the console reports the status 422
        alert = page.get_by_role("alert")
        choose(page, sounds / "bad.wav")
        expect(alert).to_contain_text(re.compile(r"^bad\.wav: .*expected WAV, AIFF, FLAC, OGG or MP3\.$"))
        expect(page.locator("#result")).to_be_hidden()
        choose(page, {"name": "huge.wav", "mimeType": "audio/wav", "buffer": bytes(1_200_000)})
        expect(alert).to_have_text("huge.wav: 1.2 MB, expected at most 1 MB.")
        upload(page, sounds / "short.wav")
        expect(alert).to_be_empty()


def test_requests_can_be_cancelled_and_a_stopped_server_is_reported(visit, model, sounds):
    release = threading.Event()

    class Slow(Recognizer):
        def predict(self, recordings, hop=None, check=None):
            release.wait(30)
            return super().predict(recordings, hop, check)

    with running(Slow(model.model)) as slow:
        page = visit(slow.address, quiet=False)
        choose(page, sounds / "short.wav")
        expect(page.get_by_role("progressbar", name="Predicting")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("status")).to_have_text("Cancelled.")
        release.set()
    choose(page, sounds / "short.wav")
    expect(page.get_by_role("alert")).to_contain_text("Is ser-jax serve still running?")


def test_one_task_one_seed_and_no_attention_show_less(visit, sounds):
    model = drawn(tasks=("arousal",), seeds=1, network=Probe)
    facts = {**FACTS, "synthetic": False, "note": "<b>bold</b>"}
    with running(Recognizer(dataclasses.replace(model, facts=facts))) as other:
        page = upload(visit(other.address), sounds / "short.wav")
        status = re.compile(r"^short\.wav: arousal: \w+, \d+\W%\.$")
        expect(page.get_by_role("status")).to_have_text(status)
        expect(page.locator(".spread, fieldset:not([hidden])")).to_have_count(0)
        expect(page.get_by_role("note")).to_be_hidden()
        expect(page.locator("#segments")).to_be_hidden()
        expect(page.locator("#caption")).to_contain_text("no attention")
        expect(page.get_by_role("definition").filter(has_text="<b>bold</b>")).to_be_visible()
        row = page.get_by_role("region", name="Corpora").get_by_role("row").nth(1)
        expect(row).to_have_text("made_upyesde12 utterances")


def test_a_class_that_is_withheld_and_scores_on_other_corpora_are_shown(visit, sounds):
    scores = {"UAR": 0.6, "interval": [0.4, 0.8]}
    unseen = {"arousal": {**scores, "corpora": {"fr": {"languages": ["fr"], "utterances": 1200, **scores}}}}
    model = drawn(tasks=("arousal",), seeds=1, network=Probe)
    with running(Recognizer(dataclasses.replace(model, facts={**FACTS, "unseen": unseen}))) as other:
        page = upload(visit(other.address), sounds / "short.wav")
        expect(page.get_by_role("status")).to_have_text("short.wav: arousal: not known across languages.")
        expect(page.locator("#tasks .label")).to_have_text("not known across languages")
        expect(page.locator(".bar")).to_have_count(0)
        rows = page.get_by_role("region", name="Corpora").nth(1).get_by_role("row")
        expect(rows.nth(1)).to_have_text("arousalfrfr1,2000.60.4, 0.8")
        expect(rows.nth(2)).to_contain_text("mean")


def test_light_and_dark_differ_and_are_readable(visit, address, sounds):
    page = visit(address, quiet=False)  # the console advises about reading pixels
    choose(page, sounds / "bad.wav")
    expect(page.get_by_role("alert")).not_to_be_empty()
    brightness = {}
    for is_predicted in (False, True):
        if is_predicted:
            upload(page, sounds / "long.flac")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.evaluate(OPEN)
            contrast = page.evaluate(CONTRAST)
            assert len(contrast) > 15
            assert [(text, ratio) for text, ratio in contrast if ratio < 4.5] == []
            page.wait_for_timeout(100)
            brightness[scheme] = page.locator("canvas").evaluate(PIXELS)[1]
    assert brightness["dark"] != brightness["light"]  # the drawing follows


def test_a_phone_needs_no_scrolling_sideways(visit, address, sounds):
    page = upload(visit(address, width=320, has_touch=True, is_mobile=True), sounds / "long.flac")
    page.evaluate(OPEN)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    right = "(all) => Math.max(...all.map((it) => it.getBoundingClientRect().right))"
    assert (
        page.locator("h1, .card, .button, article, article table, canvas, audio").evaluate_all(right) <= 320
    )
    for button in page.locator(".button:visible").all():
        assert button.bounding_box()["height"] >= 44


def test_everything_is_reached_by_keyboard_and_has_a_name(visit, address, sounds):
    page = upload(visit(address), sounds / "long.flac")
    page.mouse.click(1, 1)  # some versions of Chromium start tabbing elsewhere after an upload
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name, is_outlined = page.evaluate(FOCUS)
        if name in ("BODY", *seen[:1]):
            break
        if name not in seen:
            assert is_outlined, f"{name} shows no focus"
            seen.append(name)
    assert seen[:4] == ["file", "record", "audio", "show-arousal"]
    assert {"SUMMARY", "save", "A"} <= set(seen)
    page.locator("#show-arousal").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("img")).to_have_attribute("aria-label", re.compile("Attention for dimensions"))
    page.locator("#windows summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Windows")).to_be_visible()
    tree = page.locator("body").aria_snapshot()
    assert not re.findall(r"- (?:button|link|radio|img|region)(?::| *$)", tree, re.MULTILINE), tree
    named = ('button "Choose a file"', 'radio "arousal"', 'group "Show"', 'heading "long.flac"')
    assert all(element in tree for element in named), tree
