"""SAVEE, the Surrey audio-visual expressed emotion database: four English men, seven emotions."""

from ser_jax.data.naming import Naming

NAMING = Naming(
    corpus="SAVEE",
    language="en",
    name=r"(?P<speaker>[A-Z]{2})[/_](?P<emotion>[a-z]{1,2})\d\d",  # DC/a01 as published, DC_a01 in one folder
    example="AudioData/DC/a01.wav",
    recordings=(480,),
    men=("DC", "JE", "JK", "KL"),
    emotions={
        "a": "anger",
        "d": "disgust",
        "f": "fear",
        "h": "happiness",
        "n": "neutral",
        "sa": "sadness",
        "su": "surprise",
    },
)
read = NAMING.read
