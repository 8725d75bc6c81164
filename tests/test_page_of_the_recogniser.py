"""The page in headless Chromium, end to end: a file, a drop or a microphone in, what was heard out."""

import dataclasses
import json
import re
import threading
from pathlib import Path

import jax
import pytest
import recognisers
import servers
import visits
from visits import expect, upload, words

from ser_jax.recognizer import Recognizer
from ser_jax.recognizer.trained import Target

pytestmark = pytest.mark.skipif(visits.CHROMIUM is None, reason="no Chromium")
pytest_plugins = ["servers"]
EVIL = "<img src=x onerror=alert(1)>.wav"


@pytest.fixture(scope="module")
def server(recogniser):
    recogniser(recognisers.speech(1), 16_000)
    with servers.running(recogniser) as running:
        yield running


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return visits.sounds(tmp_path_factory.mktemp("sounds"))


@pytest.fixture(scope="module")
def browser(sounds):
    with visits.chromium(sounds) as browser:
        yield browser


@pytest.fixture
def visit(browser):
    with visits.visits(browser) as visit:
        yield visit


def test_a_file_is_heard_drawn_and_put_into_words(visit, server, recogniser, sounds):
    page = visit(server)
    expect(page.locator("#result")).to_be_hidden()
    upload(page, sounds / "speech.wav")
    said = recogniser(sounds / "speech.wav").as_dict("speech.wav")
    arousal = words(said["arousal"], ("low", "high"))
    valence = words(said["valence"], ("negative", "positive"))
    status = page.get_by_role("status")
    expect(status).to_have_text(f"speech.wav: arousal {arousal}; valence {valence}.")
    for title, sentence in (("Arousal", arousal), ("Valence", valence)):
        own = page.locator("article", has=page.get_by_role("heading", name=title, exact=True))
        label, _, rest = sentence.partition(", ")
        expect(own.locator(".said")).to_have_text(f"{label} {rest}")
    lies = page.locator(".bar .spread").first.evaluate(visits.PLACE)
    p, s = said["arousal"]["probability"], said["arousal"]["spread"]
    low, high = max(0, p - s), min(1, p + s)
    assert lies == pytest.approx([100 * low, 100 * (high - low)], abs=1e-3)
    expect(page.get_by_role("note")).to_contain_text("what it says of people means nothing")


def test_the_attention_is_drawn_and_can_be_read_in_a_table(visit, server, recogniser, sounds):
    page = upload(visit(server), sounds / "speech.wav")
    said = recogniser(sounds / "speech.wav").as_dict("speech.wav")
    pictures = []
    for target in ("arousal", "valence"):
        page.get_by_role("radio", name=target).check(force=True)
        picture = page.get_by_role("img")
        expect(picture).to_have_attribute("aria-label", re.compile(f"attention on {target} is strongest at"))
        pictures.append(picture.screenshot())
        page.locator("#segments").evaluate("it => { it.open = true; }")
        rows = page.get_by_role("region", name="Attention").get_by_role("row").all_inner_texts()[1:]
        heard = [one for one in said[target]["attention"] if one["start"] < said["seconds"]]
        assert [float(row.split("\t")[1].split()[0]) for row in rows] == [
            pytest.approx(100 * one["weight"], abs=0.051) for one in heard
        ]
        padding = sum(one["weight"] for one in said[target]["attention"] if one["start"] >= said["seconds"])
        expect(page.locator("#caption")).to_contain_text(
            f"{round(100 * padding)}\N{NO-BREAK SPACE}% of it lies on segments that begin after the end"
        )
    assert pictures[0] != pictures[1]
    colours = page.locator("canvas").evaluate(visits.COLOURS)
    assert colours > 100


def test_windows_are_listed_where_there_are_several(visit, server, recogniser, sounds):
    page = upload(visit(server), sounds / "speech.wav")
    expect(page.locator("#windows")).to_be_hidden()
    upload(page, sounds / "long.flac")
    windows = recogniser(sounds / "long.flac").windows
    page.get_by_text(f"{len(windows)} windows").click()
    rows = page.get_by_role("region", name="Windows").get_by_role("row")
    expect(rows).to_have_count(len(windows) + 1)
    expect(rows.nth(2)).to_contain_text("0:03.6 \N{EN DASH} 0:11.1")
    expect(page.locator("#length")).to_have_text("1:10.0")


def test_a_file_may_be_dropped_anywhere(visit, server, sounds):
    page = visit(server)
    content = list((sounds / "speech.wav").read_bytes())
    page.evaluate(visits.DROP, [content, EVIL])
    expect(page.locator("#result-title")).to_have_text(EVIL)  # as text
    expect(page.get_by_role("status")).to_contain_text(EVIL)
    assert page.locator("img").count() == 0


def test_the_microphone_is_recorded_heard_and_played(visit, server):
    page = visit(server, permissions=["microphone"])
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_role("timer")).to_have_text("0:01 of 1:00")
    level = page.locator("#level")
    servers.until(lambda: float(re.search(r"[\d.]+", level.get_attribute("style"))[0]) > 0.1)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#result-title")).to_have_text("recording.wav")
    expect(page.get_by_role("button", name="Record")).to_be_visible()
    audio = page.locator("audio")
    servers.until(lambda: audio.evaluate("it => it.duration") > 0)
    seconds = audio.evaluate("it => it.duration")
    assert 1 <= seconds < 10
    expect(page.locator("#length")).to_have_text(f"{seconds:.1f} s")
    audio.evaluate("it => { it.currentTime = 0.5; }")
    expect(page.locator("#cursor")).to_be_visible()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("() => Promise.reject(new DOMException('', 'NotAllowedError'))", "The microphone is not allowed"),
        ("() => Promise.reject(new DOMException('', 'NotFoundError'))", "There is no microphone."),
        (None, "Browsers give the microphone only to pages of this computer"),
    ],
)
def test_without_a_microphone_the_page_says_why(visit, server, wrong, sentence):
    page = visit(server)
    devices = f"{{ getUserMedia: {wrong} }}" if wrong else "undefined"
    page.evaluate(f"() => Object.defineProperty(navigator, 'mediaDevices', {{ value: {devices} }})")
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    expect(page.get_by_role("button", name="Record")).to_be_visible()


def test_after_a_bad_file_comes_a_good_one(visit, server, sounds):
    page = visit(server, quiet=False)  # the console tells of the status 422
    page.get_by_label("Choose a file").set_input_files(sounds / "bad.wav")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(re.compile(r"^bad\.wav: .*expected WAV, AIFF, FLAC, OGG or MP3\.$"))
    expect(page.locator("#result")).to_be_hidden()
    upload(page, sounds / "speech.wav")
    expect(alert).to_be_empty()


def test_what_is_too_large_is_not_sent(visit, recogniser, sounds):
    with servers.running(recogniser, megabytes=1) as small:
        page = visit(small)
        page.get_by_label("Choose a file").set_input_files(
            {"name": "huge.wav", "mimeType": "audio/wav", "buffer": bytes(1_200_000)}
        )
        expect(page.get_by_role("alert")).to_have_text("huge.wav: 1.2 MB, expected at most 1 MB.")
        upload(page, sounds / "speech.wav")


def test_who_cancels_is_not_waited_for_and_a_server_that_is_gone_is_named(visit, recogniser, sounds):
    go = threading.Event()

    class Slow(Recognizer):
        def predict(self, features):
            go.wait(30)
            return super().predict(features)

    with servers.running(Slow(recogniser.model)) as slow:
        page = visit(slow, quiet=False)
        page.get_by_label("Choose a file").set_input_files(sounds / "speech.wav")
        expect(page.get_by_role("progressbar", name="Recognising")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("status")).to_have_text("Cancelled.")
        expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
        go.set()
    page.get_by_label("Choose a file").set_input_files(sounds / "speech.wav")
    expect(page.get_by_role("alert")).to_have_text(
        "The server does not answer. Is ser-jax serve still running?"
    )


def test_one_target_and_one_seed_show_no_spread(visit, recogniser, sounds):
    temperature, params = recogniser.model.targets["valence"]
    one = {"valence": Target(temperature, jax.tree.map(lambda leaf: leaf[:1], params))}
    corpus = {
        "name": "real",
        "fingerprint": "0123456789ab" * 4,
        "languages": ["de", "fr"],
        "training": {"utterances": 12345, "speakers": 3},
    }
    facts = {"name": "by-lot", "synthetic": False, "seeds": 1, "note": "<b>bold</b>", "corpora": [corpus]}
    model = dataclasses.replace(recogniser.model, targets=one, facts=facts)
    with servers.running(Recognizer(model)) as other:
        page = upload(visit(other), sounds / "speech.wav")
        expect(page.get_by_role("status")).to_have_text(re.compile(r"^speech\.wav: valence \w+, \d+\W%\.$"))
        expect(page.locator(".spread")).to_have_count(0)
        expect(page.get_by_role("radio")).to_have_count(1)
        expect(page.get_by_role("note")).to_be_hidden()
        expect(page.get_by_role("definition").filter(has_text="<b>bold</b>")).to_be_visible()
        row = page.get_by_role("region", name="Corpora").get_by_role("row").nth(1)
        expect(row).to_have_text("real0123456789ab…de, fr12,345 utterances, 3 speakers")


def test_light_and_dark_differ_and_both_can_be_read(visit, server, sounds):
    pictures = []
    for scheme in ("light", "dark"):
        page = visit(server, color_scheme=scheme, quiet=False)
        page.get_by_label("Choose a file").set_input_files(sounds / "bad.wav")
        expect(page.get_by_role("alert")).not_to_be_empty()
        contrast = page.evaluate(visits.CONTRAST)
        upload(page, sounds / "long.flac")
        page.evaluate(visits.OPEN)
        contrast += page.evaluate(visits.CONTRAST)
        assert len(contrast) > 50
        assert [(text, ratio) for text, ratio in contrast if ratio < 4.5] == []
        pictures.append(page.screenshot())
    assert pictures[0] != pictures[1]


def test_the_drawing_follows_the_scheme(visit, server, sounds):
    page = visit(server, quiet=False)  # the console advises against looking at pixels
    upload(page, sounds / "speech.wav")
    corner = "it => [...it.getContext('2d').getImageData(1, 24, 1, 1).data]"
    light = page.locator("canvas").evaluate(corner)
    page.emulate_media(color_scheme="dark")
    servers.until(lambda: sum(page.locator("canvas").evaluate(corner)) < sum(light) - 100)


@pytest.mark.parametrize("width", [320, 360])
def test_a_phone_needs_no_scrolling_sideways(visit, server, sounds, width):
    page = upload(visit(server, width=width, has_touch=True, is_mobile=True), sounds / "long.flac")
    page.evaluate(visits.OPEN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.locator("h1, .card, .button, article, canvas, audio, summary").evaluate_all(
        "(all) => all.filter((it) => it.getBoundingClientRect().right > innerWidth).length"
    )
    assert outside == 0
    for button in page.locator(".button:visible").all():
        assert button.bounding_box()["height"] >= 44


def test_everything_is_reached_by_keyboard_and_has_a_name(visit, server, sounds):
    page = upload(visit(server), sounds / "long.flac")
    page.mouse.click(1, 1)  # an upload moves the place where tabbing begins in some versions of Chromium
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        one = page.evaluate(visits.FOCUS)
        if one[0] in ("BODY", *seen[:1]):
            break
        if one[0] not in seen:
            seen.append(one[0])
            assert one[1], f"{one[0]} shows no focus"
    assert seen[:4] == ["file", "record", "audio", "on-arousal"]
    assert seen.count("SUMMARY") == 1
    assert "save" in seen
    assert "A" in seen
    page.locator("#on-arousal").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#on-valence")).to_be_checked()
    expect(page.get_by_role("img")).to_have_attribute("aria-label", re.compile("attention on valence"))
    page.locator("#windows summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Windows")).to_be_visible()
    tree = page.locator("body").aria_snapshot()
    nameless = re.findall(r"- (?:button|link|radio|img|progressbar|region)(?::| *$)", tree, re.MULTILINE)
    assert not nameless, tree
    for expected in ('button "Choose a file"', 'button "Record"', 'radio "arousal"', 'link "Save as JSON"',
                     'group "Attention on"', 'heading "long.flac"'):  # fmt: skip
        assert expected in tree, tree


def test_the_result_can_be_saved(visit, server, recogniser, sounds):
    page = upload(visit(server), sounds / "speech.wav")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as JSON").click()
    assert download.value.suggested_filename == "speech.wav.json"
    saved = json.loads(Path(download.value.path()).read_text())
    assert saved == recogniser(sounds / "speech.wav").as_dict("speech.wav")


def test_it_moves_for_those_only_who_have_not_asked_for_less(visit, server):
    for wish, name in (("reduce", "none"), ("no-preference", "breathe")):
        page = visit(server, reduced_motion=wish, permissions=["microphone"])
        page.get_by_role("button", name="Record").click()
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        assert page.locator(".dot").evaluate("it => getComputedStyle(it).animationName") == name
