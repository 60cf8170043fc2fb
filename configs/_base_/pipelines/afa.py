# AFA's stages, so that it leaves the same record as the multi-stage methods; its config stands in each pipeline.
train = dict(name="train", tool="train.py")
pseudo_labels = dict(
    name="pseudo_labels",
    tool="pseudo_labels.py",
    checkpoint="{train.checkpoint}",
    args=["--split", "train", "--kind", "propagated", "--evaluate"],
)
test = dict(name="test", tool="test.py", checkpoint="{train.checkpoint}")
test_tta_crf = dict(
    name="test_tta_crf",
    tool="test.py",
    checkpoint="{train.checkpoint}",
    args=["--tta", "--crf"],
)
