"""A training of two processes, one of which is killed at random moments: python killing.py OUT STEPS KILLS.

All are forked from here, which has imported everything, and started again as torchrun does. Prints after which
checkpoint each was killed.
"""

import os
import random
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

import ganzoo

SETS = ("model.hidden=[8]", "batch_size=8", "data.size=500", "checkpoint_every=5", "log_every=5")
EARLY = 6
"""How many are killed in the first second after a start; the others in steps and while checkpoints are written."""


def worker(out, steps, rank, port, restart):
    known = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    known |= {"TORCHELASTIC_RUN_ID": "night", "TORCHELASTIC_RESTART_COUNT": restart}
    os.environ |= {name: str(value) for name, value in known.items()}
    code = 1
    try:
        ganzoo.train("gan_fc", data="gaussians", steps=steps, sets=SETS, device="cpu", out=out, quiet=True)
        code = 0
    except ganzoo.GanzooError as error:
        code = error.exit_code
    finally:
        os._exit(code)


def start(*args):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids = []
    for rank in range(2):
        if not (pid := os.fork()):
            worker(*args[:2], rank, port, *args[2:])
        pids.append(pid)
    return pids


def wait(pids, limit=60.0):
    """Return the exit codes; whoever does not end is killed, as by torchrun."""
    end, codes = time.monotonic() + limit, {}
    while len(codes) < len(pids):
        for pid in set(pids) - codes.keys():
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                codes[pid] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return [codes[pid] for pid in pids]


def reached(out):
    return max((int(path.name[5:]) for path in out.glob("*/checkpoints/step-*[0-9]")), default=0)


def main():
    out, steps, kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    ganzoo.load_registry()
    moments = random.Random(0)
    for number in range(kills):
        before, pids = reached(out), start(out, steps, number)
        if number < EARLY:
            time.sleep(moments.uniform(0, 1))
        else:
            more = 5 * moments.randint(1, 4)
            while reached(out) < before + more:
                time.sleep(0.02)
            time.sleep(moments.expovariate(20))
        step = reached(out)
        with suppress(ProcessLookupError):
            os.kill(moments.choice(pids), signal.SIGKILL)
        for pid in pids:  # torchrun's next move
            os.kill(pid, signal.SIGTERM)
        print(f"killed after step {step}: {wait(pids)}", flush=True)
    codes = wait(start(out, steps, kills), 300)
    print(f"done: {codes}", flush=True)
    sys.exit(any(codes))


if __name__ == "__main__":
    main()
