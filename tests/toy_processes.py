"""Be one of two processes on CPU, as a launcher would start it."""

import os
import sys

import torch


def be_process(rank, port):
    """Set the variables that torchrun sets; the process group is started by what is tested."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        CUDA_VISIBLE_DEVICES="",
    )
    torch.set_num_threads(1)


if __name__ == "__main__":
    sys.exit("toy_processes is imported by the tests.")
