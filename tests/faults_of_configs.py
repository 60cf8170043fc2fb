"""Wrong configs: files that fail, and keys that are not there."""

import sys

from toy_faults import Fault, more, option, write


def timm_vit(arguments: str):
    """Give a harm that puts a small vision transformer of timm into a config."""
    small = "embed_dim=32, num_heads=2, depth=4, img_size=56"
    others = "del model['data_preprocessor']['mean'], model['data_preprocessor']['std']"
    others += ", model['cls_head']['in_channels']"
    backbone = f"model['backbone'] = dict(type='TimmViT', {small}, {arguments})"
    return more("cam.py", f"{backbone}\n{others}")


def no_network(monkeypatch) -> None:
    """Let timm find no network."""

    def load(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("timm.models._builder.load_pretrained", load)


FAULTS = [
    Fault("config missing", "train.py nowhere.py", "There is no config file 'nowhere.py'"),
    Fault(
        "config YAML",
        "train.py a.yaml",
        "must be a Python file (.py), got 'a.yaml'",
        harm=write("a.yaml", "a: 1"),
    ),
    Fault("config empty", "train.py a.py", "The config has no ", harm=write("a.py", "")),
    Fault(
        "config half",
        "train",
        "'cam.py' cannot be used: it is no valid Python, line",
        harm=more("cam.py", "model = dict("),
    ),
    Fault(
        "config with a slip",
        "train",
        "'cam.py' cannot be used: line",
        harm=more("cam.py", "train_cfg = dict(max_iters=max_itres)"),
    ),
    Fault(
        "config binary", "train", "'cam.py' cannot be used", harm=write("cam.py", bytes(range(256)))
    ),
    Fault(
        "base missing", "train.py a.py", "nowhere.py", harm=write("a.py", "_base_ = 'nowhere.py'")
    ),
    Fault(
        "base with a slip",
        "train.py a.py",
        "in '",
        harm=lambda: (write("a.py", "_base_ = 'b.py'")(), write("b.py", "\nx = y\n")()),
    ),
    Fault(
        "bases share a name",
        "train.py a.py",
        "Duplicate key",
        harm=lambda: (
            write("a.py", "_base_ = ['b.py', 'c.py']")(),
            write("b.py", "x = 1")(),
            write("c.py", "x = 1")(),
        ),
    ),
    Fault(
        "import missing",
        "train",
        "afa.modles",
        harm=more("cam.py", "custom_imports['imports'].append('afa.modles')"),
    ),
    Fault("no optimizer", "train", "optim", harm=more("cam.py", "del optim_wrapper")),
    Fault("no test set", "test", "test_dataloader", harm=more("afa.py", "del test_dataloader")),
    Fault(
        "val without metrics", "train", "val_evaluator", harm=more("cam.py", "del val_evaluator")
    ),
    Fault("no pipeline config", "run_pipeline.py cam.py --work-dir out", "'cam.py' is no pipeline"),
    Fault(
        "unknown stage",
        "run_pipeline",
        "There is no stage 'cma': did you mean 'cam'?",
        "--from cma",
    ),
    Fault(
        "stage without tool",
        "run_pipeline",
        "'pipeline.py' is no pipeline: stages must be a list of dict(name='...', tool=",
        harm=more("pipeline.py", "del stages[0]['tool']"),
    ),
    Fault(
        "stage is text",
        "run_pipeline",
        "'pipeline.py'",
        harm=more("pipeline.py", "stages = ['train']"),
    ),
    Fault(
        "top key",
        "train",
        "Unknown key 'trian_cfg'; did you mean 'train_cfg'?",
        option("trian_cfg.x=1"),
    ),
    Fault(
        "type",
        "train",
        "no model is named 'CAMHaed'; did you mean 'CAMHead'?",
        option("model.cls_head.type=CAMHaed"),
    ),
    Fault(
        "optimizer",
        "train",
        "no optimizer is named 'Adamm'",
        option("optim_wrapper.optimizer.type=Adamm"),
    ),
    Fault(
        "entry of train_cfg",
        "train_afa",
        "model.train_cfg has no entry 'radus': did you mean 'radius'?",
        option("model.train_cfg.radus=1"),
    ),
    Fault(
        "hook without type", "train", "default_hooks.mine", option("default_hooks.mine.interval=1")
    ),
    Fault("hook by a number", "train", "default_hooks.logger", option("default_hooks.logger=5")),
    Fault(
        "custom hook without type",
        "train",
        "custom_hooks[0]",
        harm=more("cam.py", "custom_hooks = [dict(interval=1)]"),
    ),
    Fault(
        "hooks as a dict",
        "train",
        "custom_hooks",
        harm=more("cam.py", "custom_hooks = dict(a=dict(type='ReproducibleHook'))"),
    ),
    Fault(
        "part without type",
        "train",
        "model.cls_head",
        harm=more("cam.py", "del model['cls_head']['type']"),
    ),
    Fault(
        "timm network misspelt",
        "train",
        "has no network 'deit_small_patch61_224'; did you mean deit_small_patch16_224",
        harm=timm_vit("name='deit_small_patch61_224'"),
    ),
    Fault(
        "timm network of another kind",
        "train",
        "TimmViT: beit_base_patch16_224 is of timm's family beit",
        harm=timm_vit("name='beit_base_patch16_224'"),
    ),
    Fault(
        "crop of no whole patches",
        "train",
        "crops of 32 x 32 pixels are no whole number of patches of vit_small_patch14_dinov2",
        harm=timm_vit("name='vit_small_patch14_dinov2'"),
    ),
    Fault(
        "timm weights without network",
        "train",
        "timm could not load its weights of deit_tiny_patch16_224 (Network is unreachable)",
        harm=timm_vit("name='deit_tiny_patch16_224', pretrained=True"),
        patch=no_network,
    ),
    Fault(
        "weights of another timm network",
        "train",
        "cam.pth: The weights do not fit deit_tiny_patch16_224: 54 missing",
        harm=timm_vit(
            "name='deit_tiny_patch16_224', init_cfg=dict(type='Pretrained', checkpoint='cam.pth')"
        ),
    ),
    Fault("model without type", "train", "model", harm=more("cam.py", "del model['type']")),
    Fault(
        "data without type",
        "train",
        "train_dataloader.dataset",
        harm=more("cam.py", "del train_dataloader['dataset']['type']"),
    ),
    Fault(
        "step without type",
        "train",
        "pipeline[0]",
        harm=more("cam.py", "del train_dataloader['dataset']['pipeline'][0]['type']"),
    ),
    Fault(
        "metric without type",
        "train",
        "val_evaluator",
        harm=more("cam.py", "val_evaluator = dict(prefix='x')"),
    ),
    Fault(
        "schedule without type",
        "train",
        "param_scheduler",
        harm=more("cam.py", "del param_scheduler[0]['type']"),
    ),
    Fault(
        "loader without data",
        "train",
        "dataset",
        harm=more("cam.py", "del train_dataloader['dataset']"),
    ),
    Fault(
        "data_root without effect",
        "train",
        "--cfg-options data_root=x has no effect",
        option("data_root=x"),
    ),
    Fault(
        "name used up", "train", "--cfg-options cannot change 'max_iters'", option("max_iters=3")
    ),
    Fault(
        "no value", "train", "--cfg-options wants KEY=VALUE, got 'train_cfg'", option("train_cfg")
    ),
    Fault(
        "place beyond the list",
        "train",
        "--cfg-options custom_hooks.7.type=X",
        option("custom_hooks.7.type=X"),
    ),
    Fault(
        "entry of a number",
        "train",
        "--cfg-options train_cfg.max_iters.x=1",
        option("train_cfg.max_iters.x=1"),
    ),
]

if __name__ == "__main__":
    sys.exit("faults_of_configs is imported by the tests.")
