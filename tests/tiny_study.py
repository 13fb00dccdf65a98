"""The smallest configuration of the case study that goes through its stages, for tests of what surrounds it."""

TINY_STUDY = """seed = 3
[reference]
dim = 2
[network]
hidden = [4]
[oversized]
steps = 20
batch_size = 16
paths = 2
[pruning]
keep = [[2]]
regions = 4
refit_samples = 64
[finetuning]
steps = 20
batch_size = 16
paths = 2
curvature_weight = 0.0
teacher_samples = 64
second_order_below = 3
[evaluation]
points = 32
"""
