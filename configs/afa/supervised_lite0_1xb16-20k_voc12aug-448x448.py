# Upper bound on VOC 2012 aug: the same network, trained on the true masks. Not measured by us.
_base_ = "../affinitynet/segment_lite0_1xb16-20k_voc12aug-448x448.py"
train_dataloader = dict(dataset=dict(data_prefix=dict(seg_map_path="SegmentationClassAug")))
