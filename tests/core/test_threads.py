"""Threads that share a model or a video get the answers that each would get alone.

Each test steers two threads into the moment at which they could spoil each other. Where the lock keeps one of them
out, the other waits in vain for `PATIENCE` seconds and goes on.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conftest import SMALL

from sfllava_core import Pathway, Pool, SlowFast, multiple_choice_prompt, open_ended_prompt
from sfllava_core.answering import sharing
from sfllava_core.answering.shared_prefix import PlainDecoder
from sfllava_course import attention

PATIENCE = 3.0
OPEN, CHOICE = open_ended_prompt("what is it?"), multiple_choice_prompt("Which?", ["a cat", "a dog"])
PAST = SlowFast(50, Pathway(6), Pathway(None, Pool.to(4, 4)))  # 4256 tokens: past the model's own 4096 positions
FAR_PAST = SlowFast(50, Pathway(10), Pathway(None, Pool.to(4, 4)))  # 6560


def together(*works: Callable) -> list:
    """What each of these gives, in threads that start at the same moment."""
    barrier = threading.Barrier(len(works))

    def start(work: Callable):
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(start, work) for work in works]]


def test_open_and_choice_questions_of_two_threads_keep_their_own_prefix(llm, golden_frames, monkeypatch):
    """Both have made their prefix when each goes on to take it: the later one's was taken by both."""
    alone = [llm.watch_frames(golden_frames[:8], SMALL).next_token_logits([prompt]) for prompt in (OPEN, CHOICE)]
    made, real = threading.Barrier(2), sharing.common_length

    def meet(first, second):
        try:
            made.wait(PATIENCE)
        except threading.BrokenBarrierError:
            pass
        return real(first, second)

    video = llm.watch_frames(golden_frames[:8], SMALL)
    monkeypatch.setattr(sharing, "common_length", meet)
    found = together(lambda: video.next_token_logits([OPEN]), lambda: video.next_token_logits([CHOICE]))
    for one, expected in zip(found, alone):
        torch.testing.assert_close(one, expected, atol=1e-5, rtol=0)


def test_a_longer_prompt_of_another_video_does_not_change_a_long_ones_rope(llm, golden_frames, monkeypatch):
    """The longer one raises the base; the shorter one, past the model's positions too, then ran with it."""
    videos = {"past": llm.watch_frames(golden_frames, PAST), "far past": llm.watch_frames(golden_frames, FAR_PAST)}
    alone = [video.next_token_logits([OPEN]) for video in videos.values()]
    entered, ready, raised, ran = (threading.Event() for _ in range(4))
    real = PlainDecoder.start

    def start(self):
        if len(self.embeddings) < 6000:
            ready.set()
            raised.wait(60)
            hidden = real(self)
            ran.set()
            return hidden
        entered.set()
        both = ready.wait(PATIENCE)
        hidden = real(self)
        raised.set()
        if both:
            ran.wait(60)
        return hidden

    def past():
        entered.wait(60)
        return videos["past"].next_token_logits([OPEN])

    monkeypatch.setattr(PlainDecoder, "start", start)
    found = together(past, lambda: videos["far past"].next_token_logits([OPEN]))
    for one, expected in zip(found, alone):
        torch.testing.assert_close(one, expected, atol=1e-5, rtol=0)


def test_looking_at_attention_does_not_disturb_who_asks_meanwhile(llm, golden_frames, monkeypatch):
    """The recording attention is in the model while it looks; whoever asked then ran through it."""
    video = llm.watch_frames(golden_frames[:8], SMALL)
    looked, asked = attention.look(video, OPEN, [5]).logits, video.next_token_logits([CHOICE])
    looking, done, real = threading.Event(), threading.Event(), attention.recording_attention

    def record(*args, **kwargs):
        if not looking.is_set():
            looking.set()
            done.wait(PATIENCE)
        return real(*args, **kwargs)

    def ask():
        looking.wait(10)
        try:
            return video.next_token_logits([CHOICE])
        finally:
            done.set()

    monkeypatch.setattr(attention, "recording_attention", record)
    found = together(lambda: attention.look(video, OPEN, [5]).logits, ask)
    torch.testing.assert_close(found[0], looked, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], asked, atol=1e-5, rtol=0)


def test_a_failure_in_one_thread_leaves_the_model_to_the_others(llm, small_video):
    def interrupt(text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small_video.ask("why?", on_text=interrupt)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(small_video.ask, "why?", max_new_tokens=2).result(timeout=60)
