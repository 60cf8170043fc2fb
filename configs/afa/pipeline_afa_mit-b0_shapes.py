# AFA on Shapes as a pipeline, so that it leaves the same record as the multi-stage methods.
method = "AFA"
_config = "configs/afa/afa_mit-b0_1xb8-720it_shapes-96x96.py"
stages = [
    dict(name="train", tool="train.py", config=_config),
    dict(
        name="pseudo_labels",
        tool="pseudo_labels.py",
        config=_config,
        checkpoint="{train.checkpoint}",
        args=["--split", "train", "--kind", "propagated", "--evaluate"],
    ),
    dict(name="test", tool="test.py", config=_config, checkpoint="{train.checkpoint}"),
    dict(
        name="test_tta_crf",
        tool="test.py",
        config=_config,
        checkpoint="{train.checkpoint}",
        args=["--tta", "--crf"],
    ),
]
