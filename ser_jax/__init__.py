"""Cross-lingual and multilingual speech emotion recognition: the attentive CNN of Neumann & Vu (ICASSP 2018).

Dimensions, named the same way everywhere:

    N  utterances of a corpus        R  runs: models trained at once, one per (target, fold, seed)
    B  utterances of a batch         G  groups of utterances that share one standardisation
    T  frames, 10 ms apart (750)     P  positions of the convolution, `stride` frames apart
    F  mel bands (26)                S  segments: what the max-pooling leaves (8)
    K  classes (2)                   C  channels: kernels of the convolution (200)
"""

__version__ = "0.1.0"
