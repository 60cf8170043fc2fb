# AFA's VOC recipe on a sample of VOC 2012 (900 train / 300 val), MiT-B0. The figures compare with each
# other only; means are over background and the eight frequent classes. Not measured by us.
_base_ = [
    "../_base_/models/afa_mit-b1.py",
    "../_base_/datasets/voc12_mini.py",
    "../_base_/schedules/afa_voc12_20k.py",
    "../_base_/default_runtime.py",
]
model = dict(backbone=dict(arch="b0", init_cfg=dict(checkpoint="weights/mit_b0.pth")))
train_dataloader = dict(batch_size=4)
val_evaluator = [
    dict(type="MultiLabelMetric", prefix="cls"),
    dict(type="WSSSIoUMetric", field="pred_cam", prefix="cam", classes=_base_._frequent),
    dict(type="WSSSIoUMetric", field="pred_par", prefix="par", classes=_base_._frequent),
    dict(
        type="WSSSIoUMetric", field="pred_propagated", prefix="propagated", classes=_base_._frequent
    ),
    dict(type="WSSSIoUMetric", field="pred_sem_seg", prefix="seg", classes=_base_._frequent),
]
test_evaluator = val_evaluator
