"""EmoDB, the Berlin database of emotional speech: ten German actors, seven emotions."""

from ser_jax.data.naming import Naming

NAMING = Naming(
    corpus="EmoDB",
    language="de",
    name=r"(?P<speaker>\d\d)[ab]\d\d(?P<emotion>[A-Z])[a-z]",
    example="wav/03a01Fa.wav",
    recordings=(535,),
    women=("08", "09", "13", "14", "16"),
    men=("03", "10", "11", "12", "15"),
    emotions={
        "W": "anger",  # Wut
        "L": "boredom",  # Langeweile
        "E": "disgust",  # Ekel
        "A": "fear",  # Angst
        "F": "happiness",  # Freude
        "T": "sadness",  # Trauer
        "N": "neutral",
    },
)
read = NAMING.read
