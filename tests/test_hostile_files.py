"""Files that want to run code, through every door by which a file comes in.

Only a Python config is a program. Every payload here would make a folder ``proof``.
"""

import io
import os
import pickle
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS
from toy_faults import COMMANDS, IDS, files_in, run_tool

import afa.engine  # noqa: F401  puts the safe readers in their place
from afa.datasets.image_labels import load_sub_labels
from afa.datasets.prepare.voc12_sources import read_sbd_mask
from afa.engine.config import load_config
from afa.files.maps import read_counts
from afa.labels.sub_categories import FeatureFolder
from afa.utils.cli import parse_options

YAML = "a: !!python/object/apply:os.mkdir ['proof']\n"
REFUSED = "is refused because reading it would run code"


class Payload:
    """Makes a folder when it is read from a pickle."""

    def __reduce__(self):
        return os.mkdir, ("proof",)


def checkpoint(path, place="meta", legacy=False):
    """Write a checkpoint that is good but for one entry."""
    state = torch.load("cam.pth", weights_only=True)
    state[place] = Payload()
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)


def carrying(path, **config):
    """Write a checkpoint whose config, read alone, wants more than parts of ours."""
    Path("evil_module.py").write_text("import os\nos.mkdir('proof')\n")
    state = torch.load("cam.pth", weights_only=True)
    state["meta"]["plain_config"] = config
    torch.save(state, path)


def bare(path):
    """Write nothing but the payload, as pickle."""
    Path(path).write_bytes(pickle.dumps(Payload()))


def arrays(path, **others):
    """Write a file of arrays, one of which is of Python objects."""
    with zipfile.ZipFile(path, "w") as file:
        for name in ("classes", "maps", "size", "ids", "features", "scores"):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.array([Payload()], object), allow_pickle=True)
            file.writestr(f"{name}.npy", buffer.getvalue())


def test_the_payload_works(world):
    """Or all that follows would prove nothing."""
    bare("evil.pkl")
    pickle.loads(Path("evil.pkl").read_bytes())
    assert Path("proof").is_dir()


RESUME = "train.py cam.py --work-dir out --resume"
# Command, what is harmed, and what is said.
DOORS = {
    "test": ("test.py cam.py evil.pth --work-dir out", checkpoint, REFUSED),
    "predict": ("predict.py cam.py evil.pth data/JPEGImages --out out", checkpoint, REFUSED),
    "labels": ("pseudo_labels.py cam.py evil.pth --split val --kind cam --out out", bare, "evil"),
    "walk": ("random_walk.py affinity.py evil.pth cams --split val --out out", checkpoint, REFUSED),
    "features": ("sub_categories.py cam.py evil.pth --split val --out out", checkpoint, REFUSED),
    "propagation": ("benchmarks/propagation.py cam.py evil.pth", checkpoint, REFUSED),
    "load_from": (f"{COMMANDS['train']} --cfg-options load_from=evil.pth", checkpoint, REFUSED),
    "resume": (f"{RESUME} evil.pth", checkpoint, REFUSED),
    "init_cfg": (
        f"{COMMANDS['train']} --cfg-options model.init_cfg.type=Pretrained "
        "model.init_cfg.checkpoint=evil.pth",
        partial(checkpoint, legacy=True),
        REFUSED,
    ),
    "config of a checkpoint": (
        "test.py evil.pth --work-dir out",
        partial(carrying, custom_imports=dict(imports=["evil_module"])),
        "wants to import 'evil_module'",
    ),
    "part in a checkpoint": (
        "predict.py evil.pth data/JPEGImages --out out",
        partial(carrying, model=dict(type="os.mkdir", path="proof")),
        "'os.mkdir', which is no part of afa or mmsegmentation",
    ),
    "AFA's weights": ("model_converters/afa_official.py evil.pth out/a.pth", checkpoint, REFUSED),
    "PSA's weights": ("model_converters/psa_official.py evil.pth out/a.pth", checkpoint, REFUSED),
    "YAML config": ("train.py evil.yaml", YAML, "must be a Python file (.py)"),
    "JSON config": ("train.py evil.json", YAML, "must be a Python file (.py)"),
    "YAML pipeline": ("run_pipeline.py evil.yaml", YAML, "must be a Python file (.py)"),
    "CAM, walk": (COMMANDS["random_walk"], "cams/maps/photo_02.npz", "photo_02.npz' holds no maps"),
    "CAM, labels": (COMMANDS["affinity_labels"], "cams/maps/photo_02.npz", "make it anew"),
    "mask": (COMMANDS["test"], "data/SegmentationClassAug/photo_02.png", "is no PNG file: replace"),
    "photo": (COMMANDS["test"], "data/JPEGImages/photo_02.jpg", "is no picture of a kind that is"),
    "image labels": (COMMANDS["train"], "data/image_labels.json", "Malformed JSON in"),
    "split": (COMMANDS["train"], "data/ImageSets/train.txt", "cannot be read"),
}


@pytest.mark.parametrize("name", DOORS)
def test_a_tool_refuses_and_says_what_to_do(world, capfd, name):
    command, harm, text = DOORS[name]
    evil = next((part for part in command.split() if "evil" in part), "").rpartition("=")[2]
    if callable(harm):
        harm(evil)
    elif evil:
        Path(evil).write_text(harm)
    else:
        (arrays if harm.endswith(".npz") else bare)(harm)
    before = files_in(world)
    assert run_tool(command) in (1, 2)
    said = capfd.readouterr().err
    assert said.startswith("Error: ") and text in said and "Traceback" not in said
    new = {file for file in files_in(world) if file not in before}
    assert all(file.startswith("out/") for file in new)


def test_the_newest_checkpoint_of_a_folder_is_refused(world, capfd):
    checkpoint("out/iter_2.pth")
    Path("out/last_checkpoint").write_text("out/iter_2.pth")
    assert run_tool(RESUME) in (1, 2)
    assert "would run code" in capfd.readouterr().err
    assert not Path("proof").exists()


BACKBONES = {
    "MiTAttn": dict(arch="b0"),
    "ResNet38": dict(base_channels=1),
    "VGG16LargeFOV": {},
    "ResNetV1c": dict(depth=18),
    "ToyLevels": {},
}


@pytest.mark.parametrize("kind", BACKBONES)
def test_initial_weights(world, kind):
    for file, write in {"a.pth": checkpoint, "b.params": bare, "c.safetensors": bare}.items():
        write(file)
        init_cfg = dict(type="Pretrained", checkpoint=file)
        # Those with a reader of their own read before they touch their weights.
        with torch.device("cpu" if kind in ("ResNetV1c", "ToyLevels") else "meta"):
            module = MODELS.build(dict(type=kind, init_cfg=init_cfg, **BACKBONES[kind]))
        with pytest.raises(ValueError, match=file):
            module.init_weights()
    assert not Path("proof").exists()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        found = Path(self.path.strip("/"))
        self.send_response(200 if found.is_file() else 404)
        self.end_headers()
        self.wfile.write(found.read_bytes() if found.is_file() else b"not found")

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """A web server on this machine that gives the files of the current folder."""
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_downloads(world, server, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", "hub")
    load = partial(CheckpointLoader.load_checkpoint, map_location="cpu", logger="silent")
    assert "state_dict" in load(f"{server}/cam.pth")
    (kept,) = Path("hub/hub/checkpoints").iterdir()
    checkpoint("evil.pth")
    with pytest.raises(ValueError, match=rf"evil\.pth' holds no weights: .* {REFUSED}"):
        load(f"{server}/evil.pth")
    with pytest.raises(ValueError, match=r"nowhere\.pth' cannot be downloaded .*404.*mend the add"):
        load(f"{server}/nowhere.pth")
    assert list(Path("hub/hub/checkpoints").iterdir()) == [kept]  # what is refused is not kept
    for name in ("file://evil.pth", "mmcls://evil", "pavi://evil"):
        with pytest.raises(ValueError, match="download the file"):
            load(name)
    assert not Path("proof").exists()


def test_options_are_values_not_programs(world):
    text = "__import__('os').mkdir('proof')"
    assert parse_options([f"a={text}", f"b=[{text}]"])["a"] == text
    with pytest.raises(ValueError, match="no such place"):
        load_config("cam.py", options=parse_options([f"custom_hooks.9={text}"]))
    assert not Path("proof").exists()


def test_a_list_of_images_as_pickle_or_yaml(world):
    for name in ("evil.pkl", "evil.yaml"):
        (bare if name.endswith("pkl") else lambda path: Path(path).write_text(YAML))(name)
        with pytest.raises(ValueError, match="run code"):
            BaseDataset(ann_file=name)
    assert not Path("proof").exists()


def test_files_of_earlier_stages(world):
    features = FeatureFolder("found", IDS)
    features.prepare(dict(tool="x"))
    arrays("found/features/00000.npz")
    assert features.missing() == [0]  # to be made anew
    arrays("counts.npz")
    assert read_counts("counts.npz", [0.5]) is None
    bare("sub.json")
    with pytest.raises(ValueError, match=r"Malformed JSON in 'sub\.json'"):
        load_sub_labels("sub.json", {"photo_00": ["a"]})
    for write in (bare, arrays):
        write("a.mat")
        with pytest.raises(ValueError, match=r"unpack benchmark\.tgz again"):
            read_sbd_mask("a.mat")
    assert not Path("proof").exists()
