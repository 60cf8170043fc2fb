import argparse
import errno
import os
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from afa.utils.cli import (
    add_run_arguments,
    machine_sentence,
    main_guard,
    own_text,
    parse_options,
    set_local_rank,
)


def test_options_have_the_types_of_python():
    options = parse_options(["a.b=1", "c=[1,2]", "d=text", "e=True", "f=0.5", "g=(1,2)"])
    assert options == {"a.b": 1, "c": [1, 2], "d": "text", "e": True, "f": 0.5, "g": (1, 2)}
    assert parse_options(None) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("My animals 2026", "My animals 2026"),
        ("/data/My photos (2)/all", "/data/My photos (2)/all"),
        ("[red car,dog, big cat ]", ["red car", "dog", "big cat"]),
        ("[(1, 2), ('a b', 3.5)]", [(1, 2), ("a b", 3.5)]),
        ("1, 2", [1, 2]),
        (" True ", True),
        ("'two words'", "two words"),
        ("", ""),
    ],
)
def test_spaces_inside_a_text_stay(text, value):
    assert parse_options([f"key={text}"]) == {"key": value}


def test_what_is_there_is_no_list(tmp_path, monkeypatch):
    (tmp_path / "cats, dogs (old)").mkdir()
    monkeypatch.chdir(tmp_path)
    for text in ("cats, dogs (old)", str(tmp_path / "cats, dogs (old)")):
        assert parse_options([f"data_root={text}"]) == {"data_root": text}
    assert parse_options(["data_root=cats, mice"]) == {"data_root": ["cats", "mice"]}


@pytest.mark.parametrize("text", ["[1,2", "(1,[2)", "1,2)"])
def test_brackets_without_partner_are_told(text):
    with pytest.raises(ValueError, match="brackets must come in pairs"):
        parse_options([f"a={text}"])


@pytest.mark.parametrize("text", ["a", "=1"])
def test_options_without_key_or_value_are_refused(text):
    with pytest.raises(ValueError, match=f"wants KEY=VALUE, got '{text}'"):
        parse_options([text])


def test_run_arguments():
    parser = argparse.ArgumentParser()
    add_run_arguments(parser)
    args = parser.parse_args(["c.py", "--cfg-options", "a=1", "b=2", "--local-rank", "3"])
    assert (args.config, args.cfg_options, args.local_rank) == ("c.py", ["a=1", "b=2"], 3)
    assert args.launcher == "none"


def test_local_rank_of_the_launcher_has_precedence(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "2")
    set_local_rank(0)
    import os

    assert os.environ["LOCAL_RANK"] == "2"


class _WithStatusError(RuntimeError):
    exit_status = 1


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ValueError("a is wrong"), 2, "Error: a is wrong\n"),
        (FileNotFoundError("no file"), 2, "Error: no file\n"),
        (PermissionError(13, "Permission denied", "/x"), 2, "Error: '/x' cannot be used (Perm"),
        (OSError(28, "No space left on device"), 2, "the disk is full: free some space"),
        (TimeoutError(110, "Timed out", "/x"), 2, "Error: Timed out: '/x'."),
        (KeyError("X is not in the mmseg::model registry."), 2, "Error: X is not in"),
        (_WithStatusError("does not fit"), 1, "Error: does not fit"),
        (KeyboardInterrupt(), 130, "Stopped."),
    ],
)
def test_wrong_input_ends_with_a_sentence(capsys, monkeypatch, error, status, text):
    monkeypatch.delenv("AFA_DEBUG", raising=False)

    def tool():
        raise error

    with pytest.raises(SystemExit) as stop:
        main_guard(tool)
    assert stop.value.code == status
    assert text in capsys.readouterr().err


def test_a_reader_that_has_read_enough_ends_a_tool_without_a_word(repo):
    tool = [sys.executable, str(repo / "tools/misc/print_config.py")]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(tool, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_our_own_bugs_keep_their_traceback():
    with pytest.raises(KeyError):
        main_guard(lambda: {}["x"])
    with pytest.raises(ZeroDivisionError):
        main_guard(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="size of tensor"):
        main_guard(lambda: _fail(RuntimeError("The size of tensor a must match")))
    with pytest.raises(SyntaxError):
        main_guard(lambda: _fail(SyntaxError("of this package")))


def _fail(error):
    raise error


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setenv("AFA_DEBUG", "1")
    with pytest.raises(ValueError, match="invalid literal"):
        main_guard(lambda: int("x"))


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


def test_a_tool_that_has_ended_leaves_the_other_processes(tmp_path):
    def main():
        meeting = f"file://{tmp_path / 'meeting'}"
        torch.distributed.init_process_group("gloo", meeting, rank=0, world_size=1)

    main_guard(main)
    assert not torch.distributed.is_initialized()
