import errno

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from afa.utils.machine_errors import machine_sentence, own_text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/a"), "'/x/a' cannot be used (No spa"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full: free some space"),
        (OSError(errno.EDQUOT, "Quota"), "your share of the disk is used up"),
        (PermissionError(errno.EACCES, "Denied", "x"), "no right to read or write it"),
        (PermissionError(errno.EPERM, "Denied", "x"), "no right to read or write it"),
        (OSError(errno.EROFS, "Read-only", "x"), "take another folder"),
        (OSError(errno.EMFILE, "Too many open files"), "lower num_workers, or raise `ulimit -n`"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), "a part of this path is a"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "lower train_dataloader.batch_size"),
        (MemoryError(), "memory of this machine does not suffice: lower batch_size"),
        (RuntimeError("[enforce fail] can't allocate memory: 9"), "memory of this machine"),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            "(process 7) has died, mostly for lack of memory: lower num_workers",
        ),
        (
            RuntimeError("DataLoader worker (pid 7) is killed: workers are out of shared memory."),
            "because shared memory is full: lower num_workers",
        ),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), "(process 7, 8)"),
    ],
)
def test_what_the_machine_lacks_is_one_sentence(error, text):
    sentence = machine_sentence(error)
    assert text in sentence and sentence.count("\n") == 0 and sentence.endswith(".")


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("size mismatch"), OSError("x"), KeyError("y")]
)
def test_other_errors_are_left_alone(error):
    assert machine_sentence(error) is None


def test_a_checkpoint_on_a_full_disk():
    with pytest.raises(RuntimeError) as error:
        torch.save(dict(a=torch.zeros(10)), "/dev/full")
    assert "checkpoint could not be written: the disk is full" in machine_sentence(error.value)


class _Broken(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise ValueError("The photo 'a.jpg'\nis broken: replace it.")


def test_the_error_of_a_data_worker_is_told_as_it_was_raised():
    with pytest.raises(ValueError, match="Traceback") as error:
        next(iter(DataLoader(_Broken(), num_workers=1)))
    assert own_text(error.value) == "The photo 'a.jpg'\nis broken: replace it."
    assert own_text(ValueError("Caught a cold")) == "Caught a cold"
