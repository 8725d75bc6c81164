"""Speech with known answers: two synthesised databases in the layouts of IEMOCAP and RECOLA.

The real recordings cannot be redistributed, so demonstrations, tests and benchmarks run on these. Arousal is
carried by the same cues in both languages, valence by different ones: a recogniser should transfer the first
and fail to transfer the second, which is the paper's finding in a case where the reason is known.
"""

from ser_jax.data.synthetic.plan import SynthesisError
from ser_jax.data.synthetic.trees import read_truth, synthesize

__all__ = ["SynthesisError", "read_truth", "synthesize"]
