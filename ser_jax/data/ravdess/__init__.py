"""RAVDESS, the Ryerson database of emotional speech and song: 24 actors, eight emotions, in English."""

from ser_jax.data.naming import Naming

NAMING = Naming(
    corpus="RAVDESS",
    language="en",
    # modality (03 sound only), vocal channel (01 speech), emotion, intensity, statement, repetition, actor
    name=r"03-01-(?P<emotion>\d\d)-\d\d-\d\d-\d\d-(?P<speaker>\d\d)",
    example="Actor_01/03-01-05-01-02-01-01.wav",
    recordings=(1440,),
    women=tuple(f"{actor:02d}" for actor in range(2, 25, 2)),
    men=tuple(f"{actor:02d}" for actor in range(1, 25, 2)),
    emotions={
        "01": "neutral",
        "02": "calm",
        "03": "happiness",
        "04": "sadness",
        "05": "anger",
        "06": "fear",
        "07": "disgust",
        "08": "surprise",
    },
    prefix="actor",
    passed_over=r"(0[12]-0[12]|03-02)(-\d\d){5}",  # video with and without sound, song
)
read = NAMING.read
