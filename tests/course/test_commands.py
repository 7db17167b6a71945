"""The command line and the main job, as a user starts them: in processes of their own."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager
from importlib import import_module
from inspect import signature
from io import StringIO
from typing import get_args

import nbformat
import pytest
from conftest import DOG, GRAND_PRIX, ROOT, TINY
from notebook_files import with_parameters
from typer.main import get_command

from sfllava_bench.answers.layouts import LAYOUTS
from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.terminal import show_table
from sfllava_core import SlowFast, VideoError, parse_spec, read_frames
from sfllava_core.defaults import DEFAULT_VIDEO, POCKETBENCH
from sfllava_course.__main__ import command as run_here
from sfllava_course.__main__ import main
from sfllava_course.commands import MAIN_JOB, app


def command(*words: object, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "sfllava_course", *map(str, words)],
        capture_output=True, text=True, cwd=ROOT, timeout=240, env={**os.environ, **env},
    )  # fmt: skip


def test_ask_answers_a_question():
    """Nothing but a film and a question: the pocket model, by its own spec, knows what is in the bubble."""
    film, answer = DEFAULT_VIDEO, open_answer(DEFAULT_VIDEO.stem, "What is in the bubble?")
    done = command("ask", film, "What is in the bubble?")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{answer}\n"
    assert "50 frames of 150" in done.stderr and "slow8-max1x2_fastall-to2x2" in done.stderr
    assert "random weights" not in done.stderr


def open_answer(film: str, question: str) -> str:
    """What PocketBench has as the answer."""
    found = load_annotations("pocketbench", POCKETBENCH / "PocketBench_QA.csv")
    return next(one.answer for one in found if (one.video, one.questions) == (film, (question,)))


def test_ask_with_random_weights_says_that_its_words_mean_nothing():
    done = command("ask", GRAND_PRIX, "What is on the road?", "--max-new-tokens", 5, "--model", "data/tiny")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "50 frames of 288" in done.stderr and "random weights" in done.stderr and "3680 visual" in done.stderr


def test_ask_chooses_among_options():
    done = command("ask", DOG, "Which animal is it?", "--options", "a cat", "a dog", "--spec", "frames8_slow2-max1x2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and sum(line.startswith("*") for line in lines) == 1
    assert sum(float(line.split("%")[0].split()[-1]) for line in lines) == pytest.approx(100, abs=0.2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ask", "not_there.mp4", "why?"), "no such file"),
        (("ask", GRAND_PRIX, "why?", "--model", "no/such/folder"), "no such folder"),
        (("ask", GRAND_PRIX, "why?", "--spec", "nonsense"), "not understood"),
        (("speed", "--model", "random-900b"), "choose one of random-small"),
        (("speed", "--model", "random-7b", "--device", "cpu"), "needs a GPU"),
        (("ask", GRAND_PRIX, "why?", "--device", "cuda"), "sees no CUDA GPU"),
        (
            ("ask", GRAND_PRIX, "why?", "--spec", "frames2000000000_fastall-to4x4"),
            "2000000000: give a whole number of at",
        ),
        (
            ("ask", GRAND_PRIX, "why?", "--spec", "grid100000x100000_tiles2x2"),
            "100000: give a whole number of at most 32",
        ),
        (("ask", GRAND_PRIX, "why?", "--max-new-tokens", "0"), "at least 1"),
        (("speed", "--questions", "0"), "--questions 0: give at least 1"),
        (("speed", "--new-tokens", "-3"), "--new-tokens -3: give at least 1"),
        (("run", "-p", "dry_run", "maybe"), "dry_run='maybe': give True or False"),
        (("run", "-p", "dry", "True"), "08_reproduce.ipynb has no parameter 'dry'; it has run, benchmark,"),
    ],
)
def test_what_goes_wrong_is_one_line(words, message):
    done = command(*words, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and message in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_list_that_is_read_in_part_ends_with_one_line(buffered):
    """`bench list | head -1`, with a reader that is gone before anything is written."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "sfllava_course", "bench", "list"],
        stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=120,
        env={**os.environ, "PYTHONUNBUFFERED": buffered},
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "ended: nobody reads the output any more\n")


def test_control_characters_of_others_do_not_reach_the_terminal():
    """An option that would turn the terminal red, clear it, and turn the reading direction."""
    evil = "a \x1b[31m\x1b[2J\x9b1m\u202ecat\r"
    done = command("ask", DOG, "Which?", "--options", evil, "a dog", "--spec", "frames4_slow2-to2x2", "--model", TINY)
    assert done.returncode == 0, done.stderr
    assert "a \\u001b[31m\\u001b[2J\\u009b1m\\u202ecat\\u000d" in done.stdout
    done = command("ask", f"no{evil}.mp4", "why?")
    assert (done.returncode, "\x1b" in done.stderr, "\x9b" in done.stderr) == (1, False, False)
    assert "no such file" in done.stderr


def test_hostile_annotation_files_end_in_plain_lines(tmp_path):
    header = "video_name,question_id,question,answer,a0,a1,a2,a3,a4\n"
    (tmp_path / "EgoSchema.csv").write_text(f"{header}./,\x1b[31mq1,what?,\x1b[2Jx,a,b,c,d,e\n.,q2,what?,a,a,b,c,d,e\n")
    words = [
        "bench",
        "check",
        "--run",
        "table2_7b",
        "--benchmark",
        "egoschema",
        "--annotations",
        tmp_path,
        "--videos",
        tmp_path,
    ]
    done = subprocess.run([sys.executable, "-m", "sfllava_course", *map(str, words)],
                          capture_output=True, text=True, cwd=ROOT, timeout=120)  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr
    assert "row 2: answer '\\x1b[2Jx' is none" in done.stderr and "row 3: video_name '.' names no video" in done.stderr


def test_doctor_reports_versions_and_device():
    done = command("doctor")
    assert done.returncode == 0, done.stdout
    for word in ("torch 2", "transformers 5", "decord", "device\n  ok", "data/pocket", DEFAULT_VIDEO.name):
        assert word in done.stdout


@pytest.mark.parametrize(("absent", "healthy"), [({"einops"}, False), ({"decord"}, True), ({"decord", "av"}, False)])
def test_doctor_names_what_is_missing_and_how_to_get_it(monkeypatch, absent, healthy):
    """One decoder is enough, none is not."""
    from sfllava_course import doctor

    real = doctor.version
    monkeypatch.setattr(doctor, "version", lambda package: None if package in absent else real(package))
    lines, found_healthy = doctor.report()
    assert found_healthy is healthy
    for package in absent:
        assert f"  MISSING  {package}: pip install {package}" in lines


def test_doctor_says_whether_a_checkpoints_tokenizer_is_as_the_released_codes(tmp_path):
    done = command("doctor", "--model", "data/tiny")
    assert (done.returncode, done.stderr) == (0, "")
    assert "tokenizer of data/tiny, vicuna prompts" in done.stdout and "ok       as the released code's" in done.stdout
    wrong = shutil.copytree(ROOT / "data" / "tiny", tmp_path / "wrong")
    settings = json.loads((wrong / "tokenizer.json").read_text())
    (wrong / "tokenizer.json").write_text(json.dumps({**settings, "post_processor": None}))
    done = command("doctor", "--model", wrong)
    assert done.returncode == 1
    assert "DIFFERS  a prompt has 0 beginning-of-sequence tokens; the released code's has 1" in done.stdout
    assert command("doctor", "--model", tmp_path / "none").returncode == 1


def test_speed_prints_both_ways_and_the_bound(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- speed cpu -->\nold\n<!-- end -->\nafter\n")
    done = command("speed", "--questions", 2, "--new-tokens", 3, "--model", "data/tiny", "--into", page)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| 2")]
    assert [row[2].strip() for row in rows] == ["released", "shared", "released, bound", "shared, bound"]
    released, shared = (float(row[7]) for row in rows[:2])
    assert float(rows[1][8].strip(" x")) == pytest.approx(released / shared, rel=0.1)
    cells = [[cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines()]
    for what in ("suffixes of 2 questions", "a step of 2 questions"):
        (_, _, seconds, bound, times, _) = next(row for row in cells if row[1:2] == [what])
        assert float(times.strip(" x")) == pytest.approx(float(seconds) / float(bound), rel=0.2) and float(bound) > 0
    assert [row[1] for row in cells if row[1:2] and row[1].startswith("batch")] == ["batch 1", "batch 8", "batch 32"]
    errors = {row[1]: [float(cell) for cell in row[2:5]] for row in cells if row[1:2] and "float" in row[1]}
    for plain, _, merged in (errors[name] for name in ("float32", "bfloat16", "float16")):
        assert 0 < merged <= 1.5 * plain
    text = page.read_text()
    assert text.startswith("before\n<!-- speed cpu -->\nMeasured on 20") and text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text and done.stdout.strip() in text


def test_what_is_typed_is_what_the_notebook_gets(tmp_path):
    notebook = with_parameters(tmp_path / "n.ipynb", "dry_run = False\nallow_missing = True")
    words = ["-p", "dry_run", "False", "-p", "allow_missing", "no", "--out", tmp_path / "out", "--notebook", notebook]
    done = command("run", *words)
    assert done.returncode == 0, done.stderr
    said = nbformat.read(tmp_path / "out" / "n.ipynb", as_version=4).cells[-1].outputs[0].text
    assert json.loads(said) == [False, False]


def test_make_run_takes_all_films():
    """What `make run` would start."""
    done = subprocess.run(["make", "-n", "run"], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert "bin/sfllava run -p toy_videos 0" in done.stdout and MAIN_JOB.name == "08_reproduce.ipynb"


def test_the_table_has_equal_columns(capsys):
    show_table([{"name": "a", "n": 1}, {"name": "longer", "n": 22}])
    assert capsys.readouterr().out.splitlines() == ["name    n", "a       1", "longer  22"]


def test_a_cell_of_the_table_is_one_line_and_no_command_to_the_terminal(capsys):
    show_table([{"name": "a\x1b[31m\nb", "n": "\ud800"}])
    assert capsys.readouterr().out.splitlines() == ["name                n", "a\\u001b[31m\\u000ab  \\ud800"]


class Terminal(StringIO):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [20, 200])
def test_a_table_on_a_terminal_holds_no_markup_and_no_command_of_others(width, monkeypatch):
    """What looks like Rich's markup, links, emojis and styles is shown as it is."""
    evil = ["[bold]x[/bold]", "[link=http://a]y[/link]", ":cat:", "[/]", "\x1b[31mred", "two\nlines"]
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    show_table([{"[red]n": text, "m": 1.5} for text in evil])
    shown = sys.stdout.getvalue()
    sequences = set(re.findall(r"\x1b\[[\d;]*m|\x1b.", shown))
    assert sequences <= {"\x1b[1m", "\x1b[0m"}, "Rich's own, for the names of the columns"
    if width == 200:
        for text in ("[red]n", *evil[:4], "\\u001b[31mred", "two\\u000alines"):
            assert text in shown


def commands_of(group, *names):
    """The words of all commands and groups below one."""
    yield names
    for name, one in getattr(group, "commands", {}).items():
        yield from commands_of(one, *names, name)


ALL = list(commands_of(get_command(app)))


def test_these_are_the_commands():
    assert {" ".join(words) for words in ALL} == {
        "", "ask", "app", "doctor", "run", "bench", "bench list", "bench methods", "bench check", "bench run",
        "bench score", "speed", "speed decode", "course", "course grade",
        "ask-all", "bench status", "speed engine", "rehearse", "gpu-acceptance",
    }  # fmt: skip


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_of_each_command_shows_an_example_that_is_understood(words, capsys, monkeypatch):
    """On a terminal of 80 columns it stands in one line, to be copied."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run_here([*words, "--help"]) == 0
    (example,) = re.findall(r"^ *Example: (.+?) *$", capsys.readouterr().out, re.M)
    first, *given = shlex.split(example)
    assert first == "sfllava" and tuple(given[: len(words)]) == words
    with parsed(given) as context:
        assert context is not None


@contextmanager
def parsed(words):
    """The context of a command with these words, the innermost; Typer's errors are raised."""
    group, name = get_command(app), "sfllava"
    while hasattr(group, "commands") and words and words[0] in group.commands:
        name, group, words = words[0], group.commands[words[0]], words[1:]
    with group.make_context(name, list(words)) as context:
        yield context


def test_help_is_light():
    """Nothing heavy is imported for it, nor for words that are no command."""
    code = "import sys\nfrom sfllava_course.__main__ import command\n"
    code += "assert [command(w) for w in (['--help'], ['bench', 'run', '-h'], ['ask', '--no'])] == [0, 0, 2]\n"
    code += "heavy = {'torch', 'numpy', 'transformers', 'av', 'papermill', 'matplotlib'} & sys.modules.keys()\n"
    code += "assert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr


def test_choices_are_those_of_the_library():
    from sfllava_bench.answers.experiment import CHOOSING, DECODING
    from sfllava_bench.experiment_options import named_experiments
    from sfllava_bench.runs.catalogue import PROFILES

    taken = signature(named_experiments).parameters
    for name, names in (("by", CHOOSING), ("decoder", DECODING), ("profile", PROFILES)):
        assert get_args(get_args(taken[name].annotation)[0]) == names


def test_the_entry_point_is_the_command():
    (line,) = re.findall(r'^sfllava = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    module, name = line.split(":")
    assert getattr(import_module(module), name) is main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("bench check --run table9", "no run 'table9'"),  # LookupError
        ("bench check --run table2_7b", "give annotations and videos"),  # PlanError
        ("bench check --run table2_7b --profile toy --videos no", "no: there is no such folder"),  # VideoError
        ("bench run --run table2_7b --profile toy --model no", "no such folder"),  # ModelError
        ("bench run --run table2_7b --profile toy --one-by-one -1", "--one-by-one -1: give at least 1"),  # ValueError
        ("bench run --run table2_7b --profile toy --wording no.yaml", "no.yaml"),  # WordingError, OSError
        ("bench score --run table2_7b --profile toy --out no", "answers.jsonl"),  # JournalError
        ("bench methods --model no", "no such folder"),
        ("speed decode --num-frames 0", "--num-frames 0: give at least 1"),
        ("speed decode --films -1", "--films -1: give at least 1, or 0 for all"),
        ("run no.ipynb", "no.ipynb"),
        ("run a.ipynb --notebook b.ipynb", "a.ipynb is named already"),
        ("run -p toy_videos", "-p toy_videos: give a parameter's name and its value"),
    ],
)
def test_errors_of_each_kind_are_one_line(words, message, capsys):
    assert run_here(words.split()) == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and message in said.err and len(said.err.splitlines()) == 1, said.err
    assert said.out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ask"], "Missing argument"), (["ask", "a"], "Missing argument"), (["ask", "a", "b", "c"], "unexpected extra"),
        (["ask", "a", "b", "--colour", "red"], "No such option"), (["aks"], "Did you mean 'ask'"), (["bench"], "list"),
        (["bench", "run"], "Missing option '--run'"), (["bench", "check", "--run"], "--run"),
        (["bench", "check", "--run", "a", "--by", "luck"], "generation"),
        (["bench", "check", "--run", "a", "--max-videos", "few"], "--max-videos"),
        (["ask", "a", "b", "\x1b[31m\x9b\u202e\ud800"], "unexpected extra"), (["\x1b[31m"], "No such command"),
        (["ask", "--\x1b[31m"], "No such option"), (["[bold]x[/bold]"], "[bold]x[/bold]"),
    ],
)  # fmt: skip
def test_words_that_are_no_command_end_with_code_2(words, message, capsys):
    assert run_here(words) == 2
    said = capsys.readouterr()
    assert message in said.err + said.out and "Traceback" not in said.err
    assert not set("\x1b\x9b\u202e\ud800") & set(said.err)


def test_a_fault_of_our_own_and_a_developers_wish_show_a_traceback(monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyError):
        patch.setattr("sfllava_course.doctor.main", lambda model: {}["x"])
        run_here(["doctor"])
    monkeypatch.setenv("SFLLAVA_DEBUG", "1")
    with pytest.raises(VideoError):
        run_here(["ask", "no.mp4", "why?"])


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("bench check --run a b --by generation", {"run": ["a", "b"]}),
        ("bench check --run a --by generation --run b", {"run": ["a", "b"]}),
        ("bench check --run=a --max-videos -3", {"run": ["a"], "max_videos": -3}),
        ("speed --questions 1 5 --new-tokens 3", {"questions": [1, 5], "new_tokens": 3}),
        ("ask a.mp4 why --options x y --spec z", {"options": ["x", "y"], "spec": "z", "question": "why"}),
        ("ask a.mp4 -- --options", {"question": "--options"}),
        ("run -p a -3 n.ipynb -p b -p", {"parameters": ["a", "-3", "b", "-p"]}),
    ],
)
def test_several_words_after_one_option(words, read):
    with parsed(words.split()) as context:
        assert {name: context.params[name] for name in read} == read


def test_methods_are_listed_with_their_tokens(capsys):
    assert run_here(["bench", "methods"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.split() == ["layout", "frames", "tokens", "method"]
    listed = {name: line for name, line in zip(LAYOUTS, lines, strict=True) if line.startswith(name)}
    assert list(listed) == list(LAYOUTS)
    assert listed["SlowFast"].split()[1:3] == ["50", "776"] and listed["image grid"].split()[-2] == "744"


def test_methods_are_listed_as_published(capsys):
    assert run_here(["bench", "methods", "--published"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert re.split(r"  +", first) == ["method", "frames", "tokens", "new tokens", "published", "differs"]
    listed = {line.split()[0]: line for line in lines}
    assert all(parse_spec(name).token_count() == int(line.split()[2]) for name, line in listed.items())
    assert {"blind", str(SlowFast()), "grid3x2_tiles2x2", "igvlm6", "llavanextimage32"} <= listed.keys()
    assert listed["igvlm6"].split()[1:4] == ["6", "2928", "512"] and "llava-v1.6-34b" in listed["igvlm6"]
    assert listed["llavanextimage32"].split()[1:4] == ["32", "4608", "1024"]
    assert "linear, factor 2" in listed["llavanextimage32"] and "greedy in place of" in listed["llavanextimage32"]


def test_decoding_is_compared_with_a_child_for_each_video(capsys):
    assert run_here(["speed", "decode", "--films", "3", "--num-frames", "4", "--minutes", "0.5"]) == 0
    _, films, long, last = capsys.readouterr().out.splitlines()
    assert films.startswith("3 films") and films.split()[2] == "12" and films.endswith(" x")
    assert long.startswith("one file of 38 s")
    assert last == "the same frames to the last pixel, both ways"


def test_seeking_is_compared_with_going_through(capsys):
    words = ["speed", "decode", "--films", "1", "--num-frames", "4", "--minutes", "0.1", "--seeking"]
    assert run_here(words) == 0
    *_, head, few, more, last = capsys.readouterr().out.splitlines()
    assert "decoded, going through" in head and few.startswith("720p of 12 s") and more.startswith("720p of 12 s")
    keyframes, sampled, through, sought = map(int, few.split()[4:8])
    assert sampled == 4 <= sought <= through <= 288 and keyframes > 1
    assert last == "the same frames to the last pixel, both ways"


def test_decoding_is_measured_by_the_number_of_workers(capsys, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- speed decode -->\nold\n<!-- end -->\n<!-- speed engine -->\nkept\n<!-- end -->\n")
    words = ["speed", "decode", "--films", "2", "--num-frames", "4", "--minutes", "0.1", "--pools", "1", "2"]
    assert run_here([*words, "--into", str(page)]) == 0
    one, two = (line.split() for line in capsys.readouterr().out.splitlines()[-3:-1])
    assert one[:3] == ["1", "2", "8"] and two[:3] == ["2", "2", "8"] and one[-2:] == ["1.0", "x"]
    assert float(two[4]) == pytest.approx(int(two[3]) / int(one[3]), abs=0.06)
    text = page.read_text()
    assert text.endswith("<!-- speed engine -->\nkept\n<!-- end -->\n") and "old" not in text
    assert "| decode workers | films | frames | frames/s | ratio |\n|---|---|---|---|---|\n| 1 | 2 | 8 |" in text
    assert run_here([*words[:2], "--pools", "0"]) == 1
    assert "--pools 0: give at least 1" in capsys.readouterr().err


def test_other_frames_are_no_speed(monkeypatch, capsys):
    from sfllava_bench import decoding_speed

    read, calls = decoding_speed.read_frames, []

    def other(path, number):
        frames = read(path, number)
        calls.append(path)
        frames.pixels[0, 0, 0, 0] ^= len(calls) == 2
        return frames

    monkeypatch.setattr(decoding_speed, "read_frames", other)
    assert run_here(["speed", "decode", "--films", "1", "--num-frames", "4"]) == 1
    assert "gave other frames" in capsys.readouterr().err


def test_a_long_file_repeats_its_clip(tmp_path):
    """Frame by frame, the second time too."""
    from sfllava_bench.decoding_speed import repeat

    assert repeat(GRAND_PRIX, tmp_path / "long.mp4", 20) == pytest.approx(38.4)
    frames = (read_frames(path, number) for path, number in ((GRAND_PRIX, 288), (tmp_path / "long.mp4", 576)))
    once, twice = (dict(zip(one.indices, one.pixels)) for one in frames)
    assert max(twice) == 574 and all((twice[n + 288] == once[n]).all() for n in (0, 1, 100, 200))
