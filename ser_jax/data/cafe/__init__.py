"""CaFE, the Canadian French emotional speech dataset: twelve actors, seven emotions."""

from ser_jax.data.naming import Naming

NAMING = Naming(
    corpus="CaFE",
    language="fr",
    # actor, emotion, intensity (which the 192 kHz release leaves out for neutral), sentence
    name=r"(?P<speaker>\d\d)-(?P<emotion>[A-Z])(-[12])?-[1-6]",
    example="Colère/Faible/01-C-1-1.wav",
    recordings=(936,),
    women=tuple(f"{actor:02d}" for actor in range(2, 13, 2)),
    men=tuple(f"{actor:02d}" for actor in range(1, 13, 2)),
    emotions={
        "C": "anger",  # colère
        "D": "disgust",  # dégoût
        "J": "happiness",  # joie
        "N": "neutral",
        "P": "fear",  # peur
        "S": "surprise",
        "T": "sadness",  # tristesse
    },
)
read = NAMING.read
