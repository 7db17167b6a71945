"""A real HTTP server on loopback that speaks the OpenAI protocol and misbehaves on order: the tests' judge.

It says yes, with score 5, where the reference answer's words stand in the model's answer, and no, with score 1,
otherwise; wrapped in whatever its `mood` of that request is.
"""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "stub-judge-2024-01-25"


def is_right(user: str) -> bool:
    """The stub's own opinion, from the text of our own wording."""
    reference = re.search(r"Reference answer: (.*)", user)[1]
    return all(reference.lower() in said.lower() for said in re.findall(r"Model's answer[^:]*: (.*)", user))


def sound(right: bool) -> str:
    return json.dumps({"pred": "yes" if right else "no", "score": 5 if right else 1})


def answer_of(text, **changes) -> dict:
    """What the protocol says an answer with this text is, with some of its fields changed."""
    return {
        "id": "x", "object": "chat.completion", "created": 0, "model": MODEL,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100}, **changes,
    }  # fmt: skip


def body_of(text, **changes) -> bytes:
    return json.dumps(answer_of(text, **changes)).encode()


MOODS = {  # what the reply's text looks like
    "plain": sound,
    "prose": lambda right: f"Sure! Here is my verdict:\n```json\n{sound(right)}\n```\nI hope this helps {{}}.",
    "odd case": lambda right: '{"Pred": " YES. ", "SCORE": "5"}' if right else '{"pred": "nO", "score": 1.0}',
    "python": lambda right: str({"pred": "Yes" if right else "No", "score": 4.8 if right else 0}),
    "broken": lambda right: '{"pred": "yes", "sco',
    "no verdict": lambda right: "I cannot judge this.",
    "off the scale": lambda right: '{"pred": "yes", "score": 7}',
    "empty": lambda right: "",
}


class JudgeServer:
    """Use it with `with`; `moods` is gone through request by request, over and over.

    A mood is a key of MOODS, or "429", "500", "401", "404", "400", "quota", "slow", "not http json", "hang up"; "hang"
    (no answer at all), "trickled head", "trickled body" (a byte every 50 ms, without end), "endless" (a body without
    end, as fast as it goes), "no http" (a line that is no status line); or bytes, the body of an answer; or a status,
    headers and body.
    dies_after: after that many answered requests the server is gone.  retry_after_s: what "429" asks for.
    Attributes: requests (bodies that came), times (when they came, by time.monotonic), most_at_once, port, url.
    """

    def __init__(self, moods=("plain",), *, dies_after=None, port=0, slow_s=0.05, retry_after_s=0.02, model=MODEL):
        self.moods, self.dies_after, self.model = list(moods), dies_after, model
        self.slow_s, self.retry_after_s = slow_s, retry_after_s
        self.requests, self.times, self.answered, self.under_way, self.most_at_once = [], [], 0, 0, 0
        self.lock, self.ended = threading.Lock(), threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                owner.serve(self)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request, client_address):
                pass  # a client that hung up is part of the game

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def serve(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            if self.dies_after is not None and self.answered >= self.dies_after:
                handler.close_connection = True
                handler.connection.close()
                return
            mood = self.moods[len(self.requests) % len(self.moods)]
            self.requests.append(body)
            self.times.append(time.monotonic())
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            self.answer(handler, mood, body)
        finally:
            with self.lock:
                self.under_way -= 1

    def answer(self, handler, mood, body):
        if mood == "slow":
            time.sleep(self.slow_s)
            mood = "plain"
        if mood == "hang up":
            handler.close_connection = True
            handler.connection.close()
        elif mood == "hang":
            self.ended.wait()
        elif mood == "trickled head":
            self.pour(handler, b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n", 1, 0.05)
        elif mood == "trickled body":
            self.pour(handler, b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" ", 1, 0.05)
        elif mood == "endless":
            self.pour(handler, b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536, 65536, 0)
        elif mood == "no http":
            self.pour(handler, b"Good evening, " + handler.headers["Authorization"].encode() + b"\r\n\r\n")
        elif isinstance(mood, bytes):
            self.send(handler, 200, mood)
        elif isinstance(mood, tuple):
            status, headers, payload = mood
            self.send(handler, status, payload, headers)
        elif mood in ("429", "500", "401", "404", "400", "quota"):
            code = "insufficient_quota" if mood == "quota" else "some_code"
            status = 429 if mood == "quota" else int(mood)
            headers = {"Retry-After": self.retry_after_s} if mood == "429" else {}
            said = {"error": {"message": f"told to say {mood}", "code": code}}
            self.send(handler, status, json.dumps(said).encode(), headers)
        elif mood == "not http json":
            self.send(handler, 200, b'{"choices": [{"mess')
        else:
            text = MOODS[mood](is_right(body["messages"][-1]["content"]) if "Reference" in str(body) else True)
            with self.lock:
                self.answered += 1
            self.send(handler, 200, body_of(text, model=self.model))

    def pour(self, handler, first, again=b"", size=0, every_s=0.0):
        """Bytes as they are: some at once, then others piece by piece until nobody listens."""
        handler.close_connection = True
        handler.wfile.write(first)
        while again and not self.ended.wait(every_s):
            for start in range(0, len(again), size):
                handler.wfile.write(again[start : start + size])
                handler.wfile.flush()
                self.ended.wait(every_s)

    def send(self, handler, status, payload, headers=None):
        handler.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": len(payload),
            **(headers or {}),
        }.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(payload)
