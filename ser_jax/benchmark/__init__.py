"""Time and memory: throughput beside PyTorch, preparation, recognition, scaling."""
