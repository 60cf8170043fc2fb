import json
import sys

import pytest
import torch
from mmengine.config import Config
from safetensors import safe_open
from toy_afa import make_afa
from toy_predict import CLASSES, draw_photo, write_checkpoint, write_config

from afa.apis import export, inference_model, init_model
from afa.apis.export import SegmentationPath, onnx_difference, write_onnx, write_safetensors
from afa.engine.checkpoints.carried_config import UnsafeConfigError, read_config


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return init_model(write_config(folder), write_checkpoint(folder), "cpu")


def test_path_takes_rgb_of_0_to_255(model):
    images = 255 * torch.rand(1, 3, 40, 48)
    flipped = list(images.flip(1).to(torch.uint8))  # the model's own way begins with BGR
    data = model.data_preprocessor(dict(inputs=flipped, data_samples=None), False)
    with torch.no_grad():
        wanted = model.encode_decode(data["inputs"], [{}])
        got = SegmentationPath(model)(images.to(torch.uint8).float())
    assert got.shape == (1, len(CLASSES), 40, 48)
    torch.testing.assert_close(got, wanted)


def test_safetensors_hold_the_weights_and_the_names_of_the_classes(model, tmp_path):
    write_safetensors(model, tmp_path / "a/w.safetensors")
    with safe_open(tmp_path / "a/w.safetensors", "pt") as file:
        assert set(file.keys()) == set(model.state_dict())
        for name, value in model.state_dict().items():
            assert torch.equal(file.get_tensor(name), value), name
        assert json.loads(file.metadata()["classes"]) == list(CLASSES)
        assert "torch" in json.loads(file.metadata()["versions"])
        assert file.metadata()["format"] == "pt"  # other programs look for it
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["w.safetensors"]


def test_safetensors_are_read_as_a_checkpoint_is(model, tmp_path):
    path = tmp_path / "w.safetensors"
    write_safetensors(model, path)
    again = init_model(read_config(path), path, "cpu")
    assert again.dataset_meta["classes"] == CLASSES
    assert again.dataset_meta["palette"] == model.dataset_meta["palette"]
    assert again.cfg.test_dataloader.dataset.pipeline[1].scale == (48, 48)  # mmcv wants a tuple
    photo = draw_photo()
    wanted, got = (inference_model(one, photo).pred_sem_seg.data for one in (model, again))
    assert torch.equal(wanted, got)


def test_a_config_that_nobody_would_read_is_left_out(model, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(export, "print_log", lambda text, *how: said.append(text))
    write_safetensors(model, tmp_path / "w.safetensors", Config(dict(model=dict(type="os.system"))))
    assert said[0].startswith("The file will carry no config. The config in 'checkpoint' has model")
    with pytest.raises(UnsafeConfigError, match="carries no config"):
        read_config(tmp_path / "w.safetensors")


def test_onnx_gives_the_logits_of_torch_at_any_size(model, tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = tmp_path / "a.onnx"
    assert write_onnx(model, path) <= export.TOLERANCE
    assert (
        onnx_difference(SegmentationPath(model), path.read_bytes(), [(33, 70), (128, 32)]) <= 1e-4
    )
    metadata = {prop.key: prop.value for prop in onnx.load(str(path)).metadata_props}
    assert json.loads(metadata["classes"]) == list(CLASSES)
    # A file that computes something else is not written.
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match="gives other logits than torch"):
        write_onnx(model, tmp_path / "b.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_networks_that_onnx_cannot_hold_are_told(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    small = dict(embed_dim=32, num_heads=2, depth=4, img_size=64)
    vit = dict(type="TimmViT", name="deit_tiny_patch16_224", _delete_=True, **small)
    heads = ("cls_head", "decode_head", "affinity_head")
    model = make_afa(backbone=vit, **{f"{head}__in_channels": None for head in heads})
    with pytest.raises(ValueError, match=r"TimmViT, for images of any size: .*safetensors instead"):
        write_onnx(model, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match=r"is not installed: pip install -e \.\[export\]"):
        write_onnx(model, tmp_path / "x")


def test_a_model_without_segmentation_is_refused():
    with pytest.raises(ValueError, match="Linear has no segmentation to export"):
        SegmentationPath(torch.nn.Linear(1, 1))
