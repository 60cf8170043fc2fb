import pytest
import timm
from torch.optim import AdamW

import afa.models  # noqa: F401  registers what is checked
from afa.engine.config.components import argument_names, check_components, nearest


class _Closed:
    def __init__(self, a, *, b=1):
        pass


class _Passing(_Closed):
    def __init__(self, c, **kwargs):
        super().__init__(**kwargs)


class _Inherited(_Passing):
    pass


class _Open:
    def __init__(self, a, **kwargs):
        pass


class _Elsewhere(_Closed):
    def __init__(self, c, **kwargs):
        super().__init__(1)
        self.made = dict(**kwargs)


class _Kept(_Closed):
    def __init__(self, c, **kwargs):
        super().__init__(1)
        self.kwargs = kwargs


class _Looking(_Closed):
    def __init__(self, c, **kwargs):
        if kwargs.get("a") or "b" in kwargs or kwargs["b"]:
            kwargs.setdefault("a", 1)
        super().__init__(**kwargs)


def test_argument_names_follow_kwargs_to_the_parents():
    assert argument_names(_Closed) == ({"a", "b"}, False)
    assert argument_names(_Passing) == ({"a", "b", "c"}, False)
    assert argument_names(_Inherited) == ({"a", "b", "c"}, False)


def test_an_open_signature_is_told():
    assert argument_names(_Open) == ({"a"}, True)
    assert argument_names(lambda **kwargs: None) == (set(), True)


def test_what_is_handed_on_to_others_than_the_parents_leaves_a_signature_open():
    assert argument_names(_Elsewhere) == ({"a", "b", "c"}, True)
    assert argument_names(_Kept) == ({"a", "b", "c"}, True)
    assert argument_names(_Looking) == ({"a", "b", "c"}, False)


VIT = dict(type="TIMMBackbone", model_name="vit_tiny_patch16_224", pretrained=False)
CNN = dict(type="TimmCNN", name="resnet10t", num_attn_blocks=2)


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        (dict(VIT, dynamic_img_size=True, drop_path_rate=0.1, out_indices=(2, 5)), []),
        (
            dict(VIT, dynamic_img_siz=True),
            ["has no argument 'dynamic_img_siz'; did you mean 'dynamic_img_size'?"],
        ),
        (dict(CNN, drop_path_rate=0.1, output_stride=16, exportable=True), []),
        (dict(CNN, drop_path=0.1), ["no argument 'drop_path'; did you mean 'drop_path_rate'?"]),
        (dict(CNN, pretraind=True), ["no argument 'pretraind'; did you mean 'pretrained'?"]),
        # The backbone itself says best that there is no such network.
        (dict(CNN, name="resnet10x", whatever=1), []),
        (dict(VIT, model_name=3, whatever=1), []),
    ],
)
def test_arguments_of_a_network_of_timm(backbone, said):
    model = dict(type="CAMClassifier", backbone=backbone)
    found = list(check_components(dict(model=model)))
    assert len(found) == len(said)
    assert all(text in line for text, line in zip(said, found, strict=True))


def test_a_network_that_timm_cannot_build_without_memory_may_take_anything(monkeypatch):
    def fail(name):
        raise RuntimeError("Tensor.item() cannot be called on meta tensors")

    monkeypatch.setattr(timm, "create_model", fail)
    model = dict(type="CAMClassifier", backbone=dict(CNN, whatever=1))
    assert list(check_components(dict(model=model))) == []


def test_argument_names_of_functions_and_of_classes_without_constructor():
    assert argument_names(lambda x, y=1: None) == ({"x", "y"}, False)
    assert argument_names(type("Empty", (), {})) == (set(), False)
    assert {"lr", "weight_decay"} <= argument_names(AdamW)[0]


def test_nearest():
    assert nearest("lenght", ["length", "depth"]) == "; did you mean 'length'?"
    assert nearest("zzz", ["length"]) == ""
