import collections
import io
import json
import math
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from safetensors.torch import save_file
from toy_hub import REPO, hub_at

from afa.utils.checkpoint import load_state, refuse_non_finite, safetensors_header, save_state


class RunsCode:
    """Leaves a folder behind when a pickle of it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class ReachesOut:
    """Goes through getattr to something that was never listed."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, "register_statistics")


def test_plain_weights(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"w": torch.arange(3.0)}, path)
    assert load_state(path)["w"].tolist() == [0, 1, 2]
    assert load_state(str(path))["w"].device.type == "cpu"


def test_safetensors(tmp_path):
    save_file({"w": torch.arange(3.0)}, tmp_path / "model.safetensors")
    assert load_state(tmp_path / "model.safetensors")["w"].tolist() == [0, 1, 2]


def test_safetensors_with_a_header_of_ours(tmp_path):
    config = dict(model=dict(type="A", scale=(1, 2.5), parts=[(3, [(4,)]), {}], none=None))
    meta = dict(dataset_meta=dict(classes=["bg", "猫"]), plain_config=config, versions=None)
    header = safetensors_header(meta)
    assert header["classes"] == json.dumps(["bg", "猫"]) and "versions" not in header
    save_file({"w": torch.arange(3.0)}, tmp_path / "model.safetensors", header)
    state = load_state(tmp_path / "model.safetensors")
    assert state["state_dict"]["w"].tolist() == [0, 1, 2]
    assert state["meta"] == dict(dataset_meta=dict(classes=["bg", "猫"]), plain_config=config)


@pytest.mark.parametrize("text", ["cat", "[" * 100_000, ""])
def test_headers_of_other_programs_are_no_matter(tmp_path, text):
    header = {"format": "pt", "classes": text, "plain_config": text}
    save_file({"w": torch.arange(3.0)}, tmp_path / "model.safetensors", header)
    assert load_state(tmp_path / "model.safetensors")["w"].tolist() == [0, 1, 2]


def test_an_address_of_the_hub(tmp_path, monkeypatch):
    save_file({"w": torch.arange(3.0)}, tmp_path / "model.safetensors")
    files = {"model.safetensors": (tmp_path / "model.safetensors").read_bytes()}
    with hub_at(files, tmp_path, monkeypatch):
        assert load_state(f"hf://{REPO}/model.safetensors")["w"].tolist() == [0, 1, 2]


def test_whole_checkpoint_of_mmengine(tmp_path):
    hub = MessageHub.get_instance("test_checkpoint")
    hub.update_scalar("train/loss", 0.5)
    hub.update_scalar("train/loss", np.float32(0.25))
    hub.update_info("best", np.float32(0.75))
    hub.update_info("count", np.int64(3))
    saved = {
        "meta": {"iter": 2, "names": np.array(["a", "b"])},
        "state_dict": collections.OrderedDict(w=torch.ones(2)),
        "message_hub": hub.state_dict(),
        "rng": [np.random.get_state(), torch.get_rng_state()],
    }
    torch.save(saved, tmp_path / "iter_2.pth")
    state = load_state(tmp_path / "iter_2.pth")
    buffer = state["message_hub"]["log_scalars"]["train/loss"]
    assert isinstance(buffer, HistoryBuffer)
    assert buffer.data[0].tolist() == [0.5, 0.25]
    assert buffer.statistics("mean") == 0.375
    assert state["message_hub"]["runtime_info"]["best"] == np.float32(0.75)
    assert state["meta"]["names"].tolist() == ["a", "b"]
    assert state["rng"][0][1].dtype == np.uint32


def test_old_numpy_name_is_read(tmp_path):
    buffer = io.BytesIO()
    torch.save({"a": np.arange(3)}, buffer)
    with (
        zipfile.ZipFile(buffer) as old,
        zipfile.ZipFile(tmp_path / "numpy1.pth", "w") as new,
    ):
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data.replace(b"numpy._core.", b"numpy.core."))
    assert load_state(tmp_path / "numpy1.pth")["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, legacy):
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    torch.save(
        {"w": torch.ones(1), "x": RunsCode(trace)},
        path,
        _use_new_zipfile_serialization=not legacy,
    )
    with pytest.raises(
        ValueError, match=r"evil\.pth is refused because .* run code \(\w+\.mkdir\)"
    ):
        load_state(path)
    assert not trace.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_bare_pickle_is_refused_and_not_run(tmp_path):
    path, trace = tmp_path / "evil.pkl", tmp_path / "trace"
    path.write_bytes(pickle.dumps(RunsCode(trace)))
    with pytest.raises(ValueError, match=r"evil\.pkl"):
        load_state(path)
    assert not trace.exists()


def test_getattr_leads_nowhere_but_to_the_statistics(tmp_path):
    torch.save({"x": ReachesOut()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"run code .*register_statistics"):
        load_state(tmp_path / "evil.pth")


def test_list_of_safe_names_is_gone_afterwards(tmp_path):
    before = set(torch.serialization.get_safe_globals())  # of torch itself
    torch.save({}, tmp_path / "a.pth")
    load_state(tmp_path / "a.pth")
    assert set(torch.serialization.get_safe_globals()) == before


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.pth does not exist"):
        load_state(tmp_path / "no.pth")
    with pytest.raises(ValueError, match="is not a file"):
        load_state(tmp_path)
    with pytest.raises(ValueError, match="is an address: download"):
        load_state("https://example.org/a.pth")


@pytest.mark.parametrize("keep", [0, 10, 400, 0.5, 0.99])
def test_truncated_file(tmp_path, keep):
    path = tmp_path / "cut.pth"
    torch.save({"w": torch.randn(500)}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(ValueError, match=r"cut\.pth (cannot be read: it is incomplete|is empty)"):
        load_state(path)


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.bin", "a.safetensors"])
@pytest.mark.parametrize(
    "data", [b"hello world\n", b"\x89PNG\r\n\x1a\n", b"<html></html>", struct.pack("<Q", 10**9)]
)
def test_foreign_file(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match="cannot be read: it is incomplete, or not a file of"):
        load_state(tmp_path / name)


def test_foreign_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match="cannot be read"):
        load_state(tmp_path / "a.pth")


def test_saving_makes_the_folder_and_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "new" / "a.pth"
    save_state({"w": torch.ones(2)}, path)
    assert load_state(path)["w"].tolist() == [1, 1]
    before = path.read_bytes()

    def broken(state, target):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        save_state({"w": torch.zeros(2)}, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.pth"]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_numbers_that_are_not_finite_are_refused(number, dtype):
    good = torch.tensor([1e4, -2.0], dtype=dtype)
    weights = dict(a=good, b=torch.tensor([1.0, number], dtype=dtype), n="x", c=torch.tensor(3))
    with pytest.raises(ValueError, match=r"NaN or infinite numbers in 1 of 3 weights.* 'b'"):
        refuse_non_finite(weights)
    weights["b"] = good
    refuse_non_finite(weights)


def test_what_has_no_numbers_is_finite():
    refuse_non_finite({"a": torch.empty(2, device="meta"), "b": torch.zeros(0), 1: None})
