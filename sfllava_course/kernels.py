"""Kernels for headless runs: on files and not on the network, and with a client that misses no reply."""

from pathlib import Path

import zmq
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from traitlets import Type
from traitlets.config import Config


class Channel(AsyncZMQSocketChannel):
    """A channel that looks at what has come in after everything it sends.

    A ZeroMQ socket tells once that a message is there, and sending may use that telling up. jupyter_client sends past
    the reader who waits, as an output widget does in the middle of a cell: a reply that comes in just then is never
    seen, and the run waits for it for ever.
    """

    def send(self, msg: dict) -> None:
        super().send(msg)
        self.socket.get(zmq.EVENTS)  # wakes whoever waits for a message that is there


class Client(AsyncKernelClient):
    shell_channel_class = Type(Channel)


def private_kernel(folder: Path) -> Config:
    """Settings of a notebook's client: a kernel that listens on files in `folder`, shared with nobody.

    shutdown_wait_time: seconds for a kernel to end before it is killed.
    """
    kernel = {"transport": "ipc", "connection_file": str(folder / "kernel.json"), "shutdown_wait_time": 2.0}
    return Config({"KernelManager": {**kernel, "client_factory": Client}})
