"""Videos of one's own, questions of one's own, one table: made, gone on with, and every fault named."""

import json

import pyarrow.parquet
import pytest

from sfllava_bench.answers.journal import JournalError
from sfllava_bench.reports.status import status_rows
from sfllava_bench.runs.ask_all import AskError, ask_all, questions_of, videos_of
from sfllava_core import VideoLLM, parse_spec
from sfllava_core.defaults import ROOT
from sfllava_course.__main__ import command

CLIPS = ROOT / "data" / "clips"
METHOD = "frames4_slow2-to2x2_fastall-to1x1"
TINY = {"model": str(ROOT / "data" / "tiny"), "method": METHOD, "max_new_tokens": 4, "progress": False}


@pytest.fixture
def questions(tmp_path):
    """Two, with an empty line between."""
    file = tmp_path / "questions.txt"
    file.write_text('What is it?\n\n  What happens, "there"? \n', encoding="utf-8")
    return file


@pytest.fixture
def manifest(tmp_path):
    """A film in another folder, one beside the list, and one that is not there."""
    (tmp_path / "dog.mp4").write_bytes((CLIPS / "dog.mp4").read_bytes())
    file = tmp_path / "films.csv"
    file.write_text(f"id,video\n1,{CLIPS / 'grand_prix_1906.mp4'}\n2,dog.mp4\n3,gone.mp4\n", encoding="utf-8")
    return file


def asks(llm, source, questions, out, **more):
    return ask_all(source, questions, out, load=lambda name: llm, say=lambda text: None, **{**TINY, **more})


def test_a_manifest_and_questions_become_a_table_in_their_order(llm, manifest, questions, tmp_path):
    out = tmp_path / "answers.parquet"
    outcome = asks(llm, manifest, questions, out)
    assert (len(outcome.answers), len(outcome.failures)) == (4, 2)
    rows = pyarrow.parquet.read_table(out).to_pylist()
    films = [str(CLIPS / "grand_prix_1906.mp4"), "dog.mp4", "gone.mp4"]
    texts = ["What is it?", 'What happens, "there"?']
    assert [(row["video"], row["question"]) for row in rows] == [(film, text) for film in films for text in texts]
    assert all(row["error"] is None and row["new_tokens"] >= 1 for row in rows[:4])
    assert all(row["answer"] is None and row["error"] == "there is no such file or folder" for row in rows[4:])
    alone = llm.watch(CLIPS / "dog.mp4", parse_spec(METHOD))
    assert rows[2]["answer"] == alone.ask(texts[0], max_new_tokens=4)

    before = (tmp_path / "answers.parquet.run" / "answers.jsonl").read_bytes()
    asks(Deaf(), manifest, questions, out)  # done: the model is not asked again
    assert (tmp_path / "answers.parquet.run" / "answers.jsonl").read_bytes() == before
    (row,) = status_rows(tmp_path)
    assert (row["state"], row["questions"], row["failed"], row["videos"]) == ("done", "4 of 6", 2, "3 of 3")
    assert row["rate"].endswith(" questions/s") and row["time left"] == ""
    (tmp_path / "gone.mp4").write_bytes((CLIPS / "dog.mp4").read_bytes())
    assert not asks(llm, manifest, questions, out, retry_failed=True).failures


class Deaf:
    """The tiny model, which answers nothing."""

    def __init__(self):
        self.llm = VideoLLM.from_pretrained(ROOT / "data" / "tiny", device="cpu")

    def __getattr__(self, name):
        return getattr(self.llm, name)

    def watch_frames(self, *_, **__):
        raise AssertionError("it is asked again")

    watch_features = encode = watch_frames


def test_a_folder_and_rows_with_choices_become_json_lines(llm, tmp_path):
    file = tmp_path / "asked.csv"
    file.write_text('video,question,options\ndog.mp4,What is it?,"[""a dog"", ""a cat""]"\ndog,Why?,\n')
    out = tmp_path / "answers.jsonl"
    asks(llm, CLIPS, file, out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["video"], row["options"]) for row in rows] == [("dog", '["a dog", "a cat"]'), ("dog", None)]
    file.write_text("video,question\ndog,Who?\n")
    with pytest.raises(JournalError, match="begun with other settings"):
        asks(llm, CLIPS, file, out)


def test_films_that_differ_by_their_extension_alone_are_two(tmp_path):
    for name in ("a.mp4", "a.mkv", "b/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    videos, names = videos_of(tmp_path)
    assert names == ["a.mkv", "a.mp4", "b/a.mp4"]
    assert [videos.find(name) for name in names] == [tmp_path / name for name in names]


def test_every_fault_is_named(questions, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing, lists = tmp_path / "nothing.txt", tmp_path / "list.csv"
    nothing.write_text("\n \n")
    lists.write_text("path\na.mp4\n")
    for source, why in ((empty, "no video is there"), (tmp_path / "x", "give a folder"), (lists, "no column 'video'")):
        with pytest.raises(AskError, match=why):
            videos_of(source)
    lists.write_text("video\na.mp4\n \n")
    with pytest.raises(AskError, match="line 3: it names no video"):
        videos_of(lists)
    for file, why in ((nothing, "no question is in it"), (tmp_path / "x.txt", "there is no such file")):
        with pytest.raises(AskError, match=why):
            questions_of(file, ["a"])
    with pytest.raises(AskError, match=r"ends with \.parquet or \.jsonl"):
        ask_all(CLIPS, questions, tmp_path / "answers.xlsx", **TINY)
    with pytest.raises(JournalError, match="no run is there"):
        status_rows(empty)


def test_on_the_command_line(questions, tmp_path, capsys):
    words = ["ask-all", str(CLIPS), str(questions), "--model", TINY["model"], "--method", METHOD]
    out = tmp_path / "answers.jsonl"
    assert command([*words, "--max-new-tokens", "2", "--out", str(out)]) == 0
    films = len({json.loads(line)["video"] for line in out.read_text().splitlines()})
    assert f"{2 * films} expected = {2 * films} answered + 0 failed" in capsys.readouterr().out
    assert command([*words, "--out", str(out), "--workers", "2"]) == 1
    assert "--workers 2: it goes with --engine ray" in capsys.readouterr().err
    assert command(["bench", "status", str(tmp_path)]) == 0
    assert "answers.jsonl.run" in capsys.readouterr().out
