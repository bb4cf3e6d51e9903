"""rendezvous.py [--seconds N] [--timeout N]: all processes of all nodes meet, and add up numbers together.

Tries a cluster before a training does: names resolve, ports are open, every process is there once, sums are right.
Prints how fast they were added. With --seconds it goes on for so long, so that one can see what a node's end does to
the others. With the standard library, Python 3.8 and torch.
"""

import argparse
import datetime
import os
import socket
import sys
import time

import torch
import torch.distributed as dist

MEBIBYTES = 16
ROUNDS = 5


def say(text):
    """Print a line in one piece: several processes share the console."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def device_and_backend():
    try:
        import torch_npu  # noqa: F401
    except ImportError:
        return torch.device("cpu"), "gloo"
    if not torch.npu.is_available():
        return torch.device("cpu"), "gloo"
    local = int(os.environ["LOCAL_RANK"])
    torch.npu.set_device(local)
    return torch.device("npu", local), "hccl"


def add_up(numbers, rank, world):
    """One all_reduce of the process's own number, and whether the sum is right on this process."""
    numbers.fill_(rank + 1)
    dist.all_reduce(numbers)
    wanted = world * (world + 1) / 2
    if not bool((numbers == wanted).all()):
        raise SystemExit("rendezvous: the sum is %r and should be %r" % (numbers[0].item(), wanted))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=0, help="go on for so long")
    parser.add_argument("--timeout", type=float, default=300, help="the longest that one process waits for the others")
    arguments = parser.parse_args()
    device, backend = device_and_backend()
    dist.init_process_group(backend, timeout=datetime.timedelta(seconds=arguments.timeout))
    rank, world = dist.get_rank(), dist.get_world_size()
    say("rendezvous: process %d of %d on %s, %s" % (rank, world, socket.gethostname(), backend))
    hosts = [None] * world
    dist.all_gather_object(hosts, socket.gethostname())
    numbers = torch.empty(MEBIBYTES << 18, dtype=torch.float32, device=device)
    # The first sum makes the connections.
    add_up(numbers, rank, world)
    began = time.monotonic()
    for _ in range(ROUNDS):
        add_up(numbers, rank, world)
    taken = (time.monotonic() - began) / ROUNDS
    if rank == 0:
        rate = numbers.numel() * 4 / taken / 1e9
        names = sorted(set(hosts))
        say("rendezvous ok: %d processes on %d nodes (%s)" % (world, len(names), ", ".join(names)))
        say("rendezvous: %d MiB summed in %.4f s, %.2f GB/s" % (MEBIBYTES, taken, rate))
    until = time.monotonic() + arguments.seconds
    while True:
        # All leave at the same sum: process 0's clock counts.
        going = torch.tensor([float(time.monotonic() < until)], device=device)
        dist.broadcast(going, 0)
        if not going.item():
            break
        add_up(numbers, rank, world)
        time.sleep(0.1)
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
