from torch.optim import AdamW

from afa.engine.config.components import argument_names, nearest


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


def test_argument_names_follow_kwargs_to_the_parents():
    assert argument_names(_Closed) == ({"a", "b"}, False)
    assert argument_names(_Passing) == ({"a", "b", "c"}, False)
    assert argument_names(_Inherited) == ({"a", "b", "c"}, False)


def test_an_open_signature_is_told():
    assert argument_names(_Open) == ({"a"}, True)
    assert argument_names(lambda **kwargs: None) == (set(), True)


def test_argument_names_of_functions_and_of_classes_without_constructor():
    assert argument_names(lambda x, y=1: None) == ({"x", "y"}, False)
    assert argument_names(type("Empty", (), {})) == (set(), False)
    assert {"lr", "weight_decay"} <= argument_names(AdamW)[0]


def test_nearest():
    assert nearest("lenght", ["length", "depth"]) == "; did you mean 'length'?"
    assert nearest("zzz", ["length"]) == ""
