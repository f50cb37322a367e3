"""What the models learn from: each file is one objective of :class:`gnn.trainer.Trainer`."""
