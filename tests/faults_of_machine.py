"""A machine that lacks something: rights, disk, memory, a port, a process."""

import os
import socket
import sys
from pathlib import Path

import torch
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from toy_faults import Fault, more

WORKER = "train_dataloader['num_workers'] = 1\ntrain_dataloader['dataset']['pipeline'].insert(0, "


@TRANSFORMS.register_module()
class ToyDeath(BaseTransform):
    """End the process that loads data, as the kernel does when memory is short."""

    def transform(self, results):
        if torch.utils.data.get_worker_info() is None:
            return results  # in the rehearsal, which is in the process of the tests
        os._exit(9)


def raising(target, error):
    """Let a function raise an error."""

    def fail(*args, **kwargs):
        raise error

    return lambda monkeypatch: monkeypatch.setattr(target, fail)


def full_disk(monkeypatch):
    """Send what torch saves to the device that is always full."""
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file, **kw: save(state, "/dev/full", **kw))


def port_taken(monkeypatch):
    """Take a port, and start as mpirun would."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    holder.listen()
    ranks = {f"OMPI_COMM_WORLD_{name}": "0" for name in ("RANK", "LOCAL_RANK")}
    port = str(holder.getsockname()[1])
    for key, value in {**ranks, "OMPI_COMM_WORLD_SIZE": "1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(port_taken, "holder", holder, raising=False)


FULL = OSError(28, "No space left on device", "out/labels/photo_00.png")
DENIED = PermissionError(13, "Permission denied", "out/labels/photo_00.png")
GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")

FAULTS = [
    Fault(
        "no right to write labels",
        "pseudo_labels",
        "photo_00.png' cannot be used (Permission denied): you have no right",
        patch=raising("afa.files.whole_file.os.replace", DENIED),
    ),
    Fault(
        "no right to make the work dir",
        "train",
        "cannot be used (Permission denied): you have no right",
        patch=raising("mmengine.runner.runner.mmengine.mkdir_or_exist", DENIED),
    ),
    Fault(
        "disk full, labels",
        "pseudo_labels",
        "photo_00.png' cannot be used (No space left on device): the disk is full: free some",
        patch=raising("pathlib.Path.write_bytes", FULL),
    ),
    Fault(
        "disk full, predictions",
        "predict",
        "the disk is full: free some space, then run the same command again",
        patch=raising("pathlib.Path.write_bytes", FULL),
    ),
    Fault(
        "disk full, features",
        "sub_categories",
        "the disk is full: free some space, then run the same command again",
        patch=raising("pathlib.Path.write_bytes", FULL),
    ),
    Fault("disk full, checkpoint", "train", "the disk is full: free some space", patch=full_disk),
    Fault(
        "port taken",
        "train",
        "is taken by another program, perhaps another run: choose another one with MASTER_PORT",
        "--launcher mpi",
        patch=port_taken,
    ),
    Fault(
        "worker dies",
        "train",
        "has died, mostly for lack of memory: lower num_workers or batch_size",
        harm=more("cam.py", WORKER + "dict(type='ToyDeath'))"),
    ),
    Fault(
        "GPU memory, training",
        "train",
        "(CUDA out of memory. Tried to allocate 9.00 GiB): lower train_dataloader.batch_size",
        patch=raising("afa.models.CAMClassifier.loss", GPU),
    ),
    Fault(
        "GPU memory, labels",
        "pseudo_labels",
        "lower the scale of the test pipeline or take --device cpu",
        patch=raising("afa.models.CAMClassifier.cams_and_walk", GPU),
    ),
    Fault(
        "memory, training",
        "train",
        "The memory of this machine does not suffice: lower batch_size and num_workers",
        patch=raising("afa.models.CAMClassifier.loss", MemoryError()),
    ),
    Fault(
        "too many open files",
        "train",
        "lower num_workers, or raise `ulimit -n`",
        patch=raising(
            "afa.datasets.transforms.loading.read_photo_bytes",
            OSError(24, "Too many open files"),
        ),
    ),
]

if __name__ == "__main__":
    sys.exit(f"{Path(__file__).name} is imported by the tests.")
