# AffinityNet on EfficientNet-lite0: its levels of strides 8, 16 and 16; the grid of pairs has stride 8.
_base_ = "./lite0.py"
model = dict(
    type="AffinityNet",
    data_preprocessor=dict(size=(448, 448)),
    affinity_head=dict(
        type="FeatureAffinityHead",
        channels=(64, 128, 256),
        in_index=(1, 2, 3),
        radius=5,
        distance="mean",
        loss_aff=dict(type="PairAffinityLoss"),
    ),
    beta=8.0,
    num_steps=256,
)
