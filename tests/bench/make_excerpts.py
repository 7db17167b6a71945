"""Draws data/excerpts/: a few small videos, and questions about them in every annotation format that the kit reads.

Everything is invented here: shapes that glide over a plain ground, and what one can ask about them.
    python tests/bench/make_excerpts.py            writes data/excerpts/ again
"""

import csv
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

OUT = Path(__file__).parents[2] / "data" / "excerpts"
SIZE, FRAMES = (96, 72), 24
COLOURS = {"red": (205, 50, 45), "blue": (45, 80, 200), "green": (40, 150, 70), "yellow": (230, 200, 40)}
SHAPES = ("circle", "square", "triangle", "bar", "ring")
MOVES = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "nowhere": (0, 0)}


@dataclass(frozen=True)
class Scene:
    """One film: a shape of a colour that glides one way; name and file as some benchmark would have them."""

    name: str
    file: str
    shape: str
    colour: str
    move: str


SCENES = {
    "msvd": [
        Scene("kQ3zShapes01_k_0.5_9.25", "msvd/kQ3zShapes01_k_0.5_9.25.avi", "circle", "red", "left"),
        Scene("pL-9Shapes02_12_20", "msvd/pL-9Shapes02_12_20.mp4", "square", "blue", "up"),
    ],
    "msrvtt": [
        Scene("video9001", "msrvtt/video9001.mp4", "triangle", "green", "right"),
        Scene("video9002", "msrvtt/video9002.MP4", "ring", "yellow", "down"),
    ],
    "tgif": [
        Scene("tumblr_shapes0001_400", "tgif/tumblr_shapes0001_400.gif", "bar", "red", "down"),
        Scene("tumblr_shapes0002_250", "tgif/tumblr_shapes0002_250.gif", "circle", "green", "left"),
    ],
    "activitynet": [
        Scene("v_Shapes-AN01", "activitynet/v_Shapes-AN01.mkv", "square", "yellow", "right"),
        Scene("v_Shapes-AN02", "activitynet/Shapes-AN02.webm", "circle", "blue", "up"),
    ],
    "nextqa": [
        Scene("9000000001", "nextqa/1164/9000000001.mp4", "ring", "red", "left"),
        Scene("9000000002", "nextqa/0003/9000000002.mov", "bar", "green", "nowhere"),
    ],
    "egoschema": [
        Scene("5ha9e500-0000-4000-8000-000000000001", "egoschema/5ha9e500-0000-4000-8000-000000000001.mp4",
              "triangle", "yellow", "up"),
        Scene("5ha9e500-0000-4000-8000-000000000002", "egoschema/5ha9e500-0000-4000-8000-000000000002",
              "square", "red", "down"),
    ],
    "intentqa": [Scene("9100000001", "intentqa/9100000001.mp4", "circle", "yellow", "down")],
}  # fmt: skip
CODECS = {".avi": "mpeg4", ".webm": "libvpx-vp9", ".gif": "gif"}


def pictures(scene: Scene) -> list[Image.Image]:
    """The film's frames."""
    rng = np.random.default_rng(sum(map(ord, scene.name)))
    ground = tuple(int(x) for x in rng.integers(215, 245, 3))
    dx, dy = MOVES[scene.move]
    frames = []
    for t in np.linspace(-1, 1, FRAMES):
        frame = Image.new("RGB", SIZE, ground)
        draw, (x, y) = ImageDraw.Draw(frame), (SIZE[0] / 2 + 26 * dx * t, SIZE[1] / 2 + 18 * dy * t)
        draw_shape(draw, scene.shape, x, y, COLOURS[scene.colour])
        frames.append(frame)
    return frames


def draw_shape(draw: ImageDraw.ImageDraw, shape: str, x: float, y: float, colour: tuple[int, int, int]) -> None:
    box = (x - 12, y - 12, x + 12, y + 12)
    if shape == "circle":
        draw.ellipse(box, fill=colour)
    elif shape == "square":
        draw.rectangle(box, fill=colour)
    elif shape == "ring":
        draw.ellipse(box, outline=colour, width=5)
    elif shape == "bar":
        draw.rectangle((x - 14, y - 4, x + 14, y + 4), fill=colour)
    else:
        draw.polygon([(x, y - 13), (x - 13, y + 11), (x + 13, y + 11)], fill=colour)


def write_video(scene: Scene, file: Path) -> None:
    """One film as a file, or as a folder of images where the name has no extension."""
    frames = pictures(scene)
    if not file.suffix:
        file.mkdir(parents=True)
        for number, frame in enumerate(frames[::2], start=1):
            frame.save(file / f"{number}.png")
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    codec = CODECS.get(file.suffix, "libx264")
    with av.open(str(file), "w", format="mp4" if file.suffix == ".MP4" else None) as container:
        stream = container.add_stream(codec, rate=12)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        if codec == "libx264":
            stream.options = {"crf": "28", "threads": "1"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())


def open_rows(scene: Scene) -> list[tuple[str, str, int]]:
    """(question, answer, ActivityNet's or TGIF's kind of question) for a film."""
    return [
        ("what shape is seen?", scene.shape, 0),
        ("what colour is the shape", scene.colour, 2),
        (f"is the {scene.shape} {scene.colour} ", "yes", 3),
    ]


def choice_rows(scene: Scene) -> list[tuple[str, list[str], str, str]]:
    """(question, five options, answer, NExT-QA's kind of question) for a film."""
    return [
        ("what does the shape in the video look like", list(SHAPES), scene.shape, "DO"),
        ("where does the shape go", list(MOVES), scene.move, "TN"),
        ("how does the shape end up where it is", [f"it goes {move}" for move in reversed(MOVES)],
         f"it goes {scene.move}", "CH"),
    ]  # fmt: skip


def csv_text(columns: list[str], rows: list[dict]) -> list[list[object]]:
    """IG-VLM's layout: a first column without a name that counts the rows."""
    return [["", *columns], *([number, *(row[c] for c in columns)] for number, row in enumerate(rows, start=1))]


def write_csv(name: str, columns: list[str], rows: list[dict]) -> None:
    with (OUT / "annotations" / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(csv_text(columns, rows))


def write_json(benchmark: str, name: str, rows: list[dict]) -> None:
    file = OUT / "released" / benchmark / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_open_ended(benchmark: str, csv_name: str, part: str) -> None:
    rows = []
    for scene in SCENES[benchmark]:
        for question, answer, kind in open_rows(scene):
            number = len(rows)
            # TGIF's question_id is the same for all questions of a film; its video_id is the key
            question_id = f"{scene.name[-7:-4]}" if benchmark == "tgif" else f"{scene.name}_{number}"
            video_id = f"FRAMEQA{900 + number}" if benchmark == "tgif" else scene.name
            rows.append({"video_id": video_id, "answer": answer, "question": question, "video_name": scene.name,
                         "question_id": question_id, "question_type": kind})  # fmt: skip
    if benchmark == "activitynet":
        rows[1]["question"] = "\n5220," + rows[1]["question"]
    write_csv(csv_name, ["video_id", "answer", "question", "video_name", "question_id", "question_type"], rows)
    strip = 2 if benchmark == "activitynet" else 0
    asked = [{"video_name": r["video_name"][strip:], "question_id": r["question_id"], "question": r["question"]}
             for r in rows]  # fmt: skip
    answers = [{"answer": r["answer"], "type": r["question_type"], "question_id": r["question_id"]} for r in rows]
    write_json(benchmark, f"{part}_q.json", asked)
    write_json(benchmark, f"{part}_a.json", answers)


def write_choice(benchmark: str, csv_name: str, columns: list[str]) -> None:
    rows = []
    for scene in SCENES[benchmark]:
        for question, options, answer, kind in choice_rows(scene)[: 1 if benchmark == "egoschema" else None]:
            row = {"video_name": scene.name, "question": question, "answer": answer, "question_type": kind,
                   "question_id": f"{scene.name}_{kind}_{len(rows)}", "video_id": scene.name, "frame_count": FRAMES,
                   "width": SIZE[0], "height": SIZE[1], "answer_number": options.index(answer)}  # fmt: skip
            rows.append({**row, **{f"a{i}": option for i, option in enumerate(options)}})
    write_csv(csv_name, columns, rows)
    title = {"nextqa": "NExTQA", "egoschema": "EgoSchema", "intentqa": "IntentQA"}[benchmark]
    write_json(benchmark, "val_qa.json", [
        {"task_name": title, "video_name": f"{r['video_name']}.mp4", "question_id": r["question_id"],
         "question": r["question"], "answer_number": r["answer_number"], "candidates": [r[f"a{i}"] for i in range(5)],
         "answer": r["answer"]}
        for r in rows
    ])  # fmt: skip


def write_vcgbench() -> None:
    columns = ["video_name", "question", "question_id", "answer", "question_type"]
    parts: dict[str, list[dict]] = {"Generic_QA": [], "Temporal_QA": [], "Consistency_QA1": [], "Consistency_QA2": []}
    for number, scene in enumerate(SCENES["activitynet"]):
        what = f"A {scene.colour} {scene.shape} glides {scene.move} over a plain ground."
        asked = {
            "Generic_QA": "What can be seen in the video?",
            "Temporal_QA": "What happens from the beginning to the end?",
            "Consistency_QA1": "Which shape is there, and what colour is it?",
            "Consistency_QA2": "Can you describe the thing that moves?",
        }
        for part, question in asked.items():
            parts[part].append({"video_name": scene.name, "question": question, "answer": what,
                                "question_id": f"{scene.name}_{number}", "question_type": 0})  # fmt: skip
    for part, rows in parts.items():
        write_csv(f"{part}.csv", columns, rows)

    def released(rows: list[dict]) -> list[dict]:
        return [{"video_name": r["video_name"][2:], "question_id": r["question_id"], "question": r["question"],
                 "answer": r["answer"]} for r in rows]  # fmt: skip

    write_json("vcgbench", "Video-ChatGPT-generic_val_qa.json", released(parts["Generic_QA"]))
    write_json("vcgbench", "Video-ChatGPT-temporal_understanding_val_qa.json", released(parts["Temporal_QA"]))
    pairs = zip(released(parts["Consistency_QA1"]), parts["Consistency_QA2"])
    write_json("vcgbench", "Video-ChatGPT-consistency_val_qa.json",
               [{**first, "question": [first["question"], second["question"]]} for first, second in pairs])  # fmt: skip


def main() -> None:
    for folder in ("annotations", "released", "videos"):
        shutil.rmtree(OUT / folder, ignore_errors=True)
    (OUT / "annotations").mkdir(parents=True)
    for scenes in SCENES.values():
        for scene in scenes:
            write_video(scene, OUT / "videos" / scene.file)
    write_open_ended("msvd", "MSVD_QA.csv", "val")
    write_open_ended("msrvtt", "MSRVTT_QA.csv", "val")
    write_open_ended("tgif", "TGIF_FrameQA.csv", "val")
    write_open_ended("activitynet", "ActivityNet_QA.csv", "test")
    options = [f"a{i}" for i in range(5)]
    write_choice("nextqa", "NExT_QA.csv", ["video_name", "frame_count", "width", "height", "question", "answer_number",
                                           "question_id", "question_type", *options, "answer"])  # fmt: skip
    write_choice("egoschema", "EgoSchema.csv", ["video_name", "question_id", "question", "answer", *options])
    write_choice("intentqa", "IntentQA.csv", ["video_name", "question", "question_id", "answer", "video_id",
                                              "question_type", *options])  # fmt: skip
    write_vcgbench()


if __name__ == "__main__":
    OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    main()
