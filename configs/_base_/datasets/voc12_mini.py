# A sample of VOC 2012 (900 train_aug / 300 val) to try things on real photos.
_base_ = "./voc12_aug.py"
data_root = "data/voc12-mini"
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
# The classes that are frequent here; figures are means over them and the background.
_frequent = (
    "background", "cat", "chair", "cow", "dog", "horse", "person", "sheep", "sofa"
)  # fmt: skip
