"""The report: what it must say, and that no text of a model, a file or a server becomes markup."""

import base64
import io
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.reports.page import data_uri, environment, render, table
from sfllava_bench.reports.report import write_report
from sfllava_bench.reports.results import make_results
from sfllava_bench.terminal import one_line, visible
from sfllava_core import parse_spec
from sfllava_core.video.folder import VideoFolder

from .test_runner import answer
from .test_scores import choices, outcome_of

EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)">" \' &amp; </td></table></span> \u202eevil \x00\x1b[31m'
MARKUP = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "b", "div", "span", "table", "caption",
          "tr", "th", "td", "ol", "li", "img"}  # fmt: skip


class Reader(HTMLParser):
    """Collects tags, attributes and text as a browser would."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, name, attributes):
        self.tags.add(name)
        self.attributes += attributes
        if name not in ("meta", "img"):
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(self.texts)


def read(path):
    reader = Reader(path.read_text(encoding="utf-8"))
    assert reader.open == []
    assert reader.tags <= MARKUP
    assert {name for name, _ in reader.attributes} <= {
        "lang", "charset", "http-equiv", "content", "class", "src", "alt", "title", "type",
    }  # fmt: skip
    assert all(value.startswith("data:image/jpeg;base64,") for name, value in reader.attributes if name == "src")
    return reader


def seen(questions):
    return [{"watched": video, "questions": 2, "frames": [0], "seconds": {"decode": 1.0, "answer": 1.0, "total": 2.0}}
            for video in dict.fromkeys(q.video for q in questions)]  # fmt: skip


def test_evil_texts_stay_texts(tmp_path):
    questions = [
        replace(
            q, questions=(f"{EVIL}{n}?",), video=f"v{EVIL}", key=f"{q.key}{EVIL}", answer=EVIL,
            options=(EVIL, *q.options[1:]), answer_index=0, group=EVIL if n % 2 else "CH",
        )
        for n, q in enumerate(choices(8))
    ]  # fmt: skip
    answers = {q.key: f"A) {EVIL}" if n < 3 else f"B) {EVIL}" if n < 6 else None for n, q in enumerate(questions)}
    outcome = outcome_of(questions, answers, seen(questions), note=EVIL, **{EVIL: EVIL})
    for record in outcome.failures.values():
        record["error"] = EVIL
    results = make_results(questions, outcome, run=EVIL, published={"accuracy": 64.2}, note=EVIL)
    reader = read(write_report(results, questions, outcome, tmp_path / "r.html"))
    assert "alert(1)" in reader.text
    assert "\u202e" not in reader.text and "\x00" not in reader.text
    assert "\\u202eevil \\u0000\\u001b[31m" in reader.text


def test_it_says_what_a_reader_must_know(tmp_path):
    questions = choices(9)
    answers = {q.key: q.answer_letter if n % 2 else "A man" for n, q in enumerate(questions)} | {"q8": None}
    outcome = outcome_of(questions, answers, seen(questions))
    results = make_results(questions, outcome, run="table2_7b_nextqa", published={"accuracy": 64.2}, note="a doubt")
    text = read(write_report(results, questions, outcome, tmp_path / "r.html")).text
    wanted = (
        "9 expected = 8 answered + 1 failed", "1 of 9 questions have no answer", "not the whole set: 9 of 4996",
        "a doubt", "64.2", "accuracy_strict", "By type of question", "differ on 4 of 8 answers", "cut short",
        "Some right answers", "Some wrong answers", "frames4_slow2-to2x2_fastall-to1x1", "sharing a video",
        "frames not shown: no videos' folder was given", "Not the paper's metrics: accuracy_strict",
    )  # fmt: skip
    assert [said for said in wanted if said not in text] == []


def test_examples_show_the_frames_that_the_model_saw(llm, excerpts, tmp_path):
    questions = load_annotations("nextqa", excerpts / "annotations")
    videos = VideoFolder(excerpts / "videos")
    settings = Experiment("a", parse_spec("frames6_slow2-to2x2"), max_new_tokens=3)
    outcome = answer(llm, questions, videos, tmp_path / "a.jsonl", settings)
    results = make_results(questions, outcome)
    reader = read(write_report(results, questions, outcome, tmp_path / "r.html", videos=videos))
    frames = [value for name, value in reader.attributes if name == "alt"]
    shown = reader.text.count(", video 9000000001") * [f"frame {n}" for n in outcome.watched[0]["frames"]]
    shown += reader.text.count(", video 9000000002") * [f"frame {n}" for n in outcome.watched[1]["frames"]]
    assert frames and sorted(frames) == sorted(shown)
    sources = [value.partition(",")[2] for name, value in reader.attributes if name == "src"]
    pictures = [Image.open(io.BytesIO(base64.b64decode(source))) for source in sources]
    assert all(picture.width * 72 == picture.height * 96 for picture in pictures), "the videos are 96 x 72"
    outcome.watched[0]["frames"][0] += 1
    changed = read(write_report(results, questions, outcome, tmp_path / "r.html", videos=videos))
    assert "the file has changed since the run" in changed.text


def test_templates_escape_all_but_their_own_markup():
    shown = str(table([{"a": "<", "b": 1}, {"a": '"', "b": "1.5 [1, 2]"}], caption="&"))
    assert "".join(shown.split("\n")) == (
        '<div class="wide"><table><caption>&amp;</caption><tr><th>a</th><th class="number">b</th></tr>'
        '<tr><td>&lt;</td><td class="number">1</td></tr>'
        '<tr><td>&#34;</td><td class="number">1.5 [1, 2]</td></tr></table></div>'
    )
    page = render("tables.html", title="<t>", tables={"<c>": [{"<a>": table([])}]})
    assert page.count("default-src 'none'") == 1 and "<title>&lt;t&gt;</title>" in page
    assert "<th>&lt;a&gt;</th>" in page and "<p>none</p>" in page and "<caption>&lt;c&gt;</caption>" in page
    assert data_uri(np.zeros((4, 8, 3), dtype=np.uint8)).startswith("data:image/jpeg;base64,")


def test_no_template_lets_text_through_unescaped_or_fetches_anything():
    """What `safe` or a switched off escape would let in, no hostile text of the tests need happen to reach."""
    names = environment().list_templates()
    assert {"page.html", "table.html", "tables.html", "report.html"} <= set(names)
    for name in names:
        source = environment().loader.get_source(environment(), name)[0]
        assert [
            word
            for word in ("| safe", "|safe", "autoescape", "http:", "https:", "//", "<script", "url(")
            if word in source
        ] == []


def test_a_name_that_a_template_misspells_is_an_error():
    with pytest.raises(UndefinedError):
        render("tables.html", title="t")


def test_control_characters_are_seen_and_line_ends_stay():
    """A carriage return overwrites what a terminal, or a log, has shown before it."""
    assert visible("right\rwrong\n\tb") == "right\\u000dwrong\n\tb"
    assert "<td>right\\u000dwrong</td>" in table([{"a": "right\rwrong"}])
    assert one_line("a\nb\tc") == "a\\u000ab\\u0009c"
    for character in "\x00\x07\x08\x0b\x0c\x1b\x1f\x7f\x80\x9f\u202e\u2066\u200f\u2028\u2029\ud800":
        assert visible(f"a{character}b") == f"a\\u{ord(character):04x}b"
    plain = "Ünïcode 😀 \u00a0 \u3042 ~"
    assert visible(plain) == plain
