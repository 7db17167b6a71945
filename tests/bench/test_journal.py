"""A file of records: nothing is lost, nothing is mixed, a torn line is mended, and other files are left alone."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sfllava_bench.answers.journal import Journal, JournalError, read_journal

REPO = Path(__file__).parents[2]
SETTINGS = {"spec": "frames50_slow10-max1x2_fastall-to4x4", "model": "tiny"}


def test_records_come_back(tmp_path):
    with Journal(tmp_path / "sub" / "a.jsonl", "answers", SETTINGS) as journal:
        journal.append({"key": "1", "text": 'line\nend\u2028 "quoted" é \r'})
        journal.append({"key": "2"}, {"key": "3"})
    with Journal(tmp_path / "sub" / "a.jsonl", "answers", SETTINGS) as journal:
        assert [record["key"] for record in journal.records] == ["1", "2", "3"]
        assert journal.records[0]["text"] == 'line\nend\u2028 "quoted" é \r'
        assert journal.repaired == 0
    header, records = read_journal(tmp_path / "sub" / "a.jsonl")
    assert (header["settings"], len(records)) == (SETTINGS, 3)


def test_a_file_cut_at_any_byte_is_mended_and_keeps_every_whole_record(tmp_path):
    file = tmp_path / "a.jsonl"
    with Journal(file, "answers", SETTINGS) as journal:
        for n in range(4):
            journal.append({"key": str(n), "text": "é" * n})
    raw = file.read_bytes()
    ends = [place for place, byte in enumerate(raw) if byte == ord("\n")]
    for cut in range(len(raw)):
        file.write_bytes(raw[:cut])
        whole = max(0, sum(end < cut for end in ends) - 1)
        with Journal(file, "answers", SETTINGS) as journal:
            assert [record["key"] for record in journal.records] == [str(n) for n in range(whole)]
            journal.append({"key": "new"})
        assert [r["key"] for r in read_journal(file)[1]] == [*(str(n) for n in range(whole)), "new"]


def test_another_runs_settings_are_refused_and_named(tmp_path):
    with Journal(tmp_path / "a.jsonl", "answers", SETTINGS) as journal:
        journal.append({"key": "1"})
    before = (tmp_path / "a.jsonl").read_bytes()
    with pytest.raises(JournalError, match='model: "tiny" there, "large" now'):
        Journal(tmp_path / "a.jsonl", "answers", {**SETTINGS, "model": "large"})
    with pytest.raises(JournalError, match="'answers'"):
        Journal(tmp_path / "a.jsonl", "judgements", SETTINGS)
    assert (tmp_path / "a.jsonl").read_bytes() == before


@pytest.mark.parametrize("content", [b"my thesis, no line end", b"{}\n", b'{"other": 1}\n{"journal": 2}\n', b"\n\n"])
def test_files_of_others_are_never_touched(content, tmp_path):
    file = tmp_path / "precious.txt"
    file.write_bytes(content)
    with pytest.raises(JournalError):
        Journal(file, "answers", SETTINGS)
    assert file.read_bytes() == content


def test_damage_in_the_middle_is_no_torn_line(tmp_path):
    with Journal(tmp_path / "a.jsonl", "answers", SETTINGS) as journal:
        journal.append({"key": "1"}, {"key": "2"})
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    (tmp_path / "a.jsonl").write_text("\n".join([lines[0], lines[1][:5], lines[2], ""]))
    with pytest.raises(JournalError, match="line 2"):
        Journal(tmp_path / "a.jsonl", "answers", SETTINGS)


def test_only_one_process_writes_at_a_time(tmp_path):
    file = tmp_path / "a.jsonl"
    code = (
        "import sys; from sfllava_bench.answers.journal import Journal, JournalError\n"
        "try: Journal(sys.argv[1], 'answers', {})\n"
        "except JournalError as error: print(error)"
    )
    with Journal(file, "answers", {}):
        said = subprocess.run([sys.executable, "-c", code, file], cwd=REPO, capture_output=True, text=True, check=True)
        assert "another process" in said.stdout
    with Journal(file, "answers", {}) as journal:
        assert journal.records == []


WRITER = """
import sys
from sfllava_bench.answers.journal import Journal
with Journal(sys.argv[1], "answers", {}) as journal:
    print(len(journal.records), flush=True)
    for n in range(len(journal.records), 100000):
        journal.append({"key": str(n), "text": "x" * (n % 3000)})
        print(n, flush=True)
"""


def test_sigkill_loses_nothing_that_was_reported(tmp_path):
    """A writer is killed again and again while it writes; each next one finds all that it had reported, in order."""
    file, rng, reported = tmp_path / "a.jsonl", random.Random(7), -1
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-c", WRITER, file], cwd=REPO, stdout=subprocess.PIPE)
        assert int(child.stdout.readline()) > reported
        for _ in range(rng.randrange(1, 60)):
            reported = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.communicate()[0].split(b"\n")[:-1]
        reported = int(rest[-1]) if rest else reported
        with Journal(file, "answers", {}) as journal:
            keys = [record["key"] for record in journal.records]
        assert keys == [str(n) for n in range(len(keys))]
        assert len(keys) > reported
    assert json.loads(file.read_text().splitlines()[0])["journal"] == "answers"
