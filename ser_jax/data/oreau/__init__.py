"""Oréau, a French emotional speech database: 32 people who do not act by profession, seven emotions."""

from ser_jax.data.naming import Naming

MEN = (
    "07", "08", "09", "12", "14", "16", "18", "19", "20", "22", "23", "25", "26", "27",
    "28", "29", "30", "31", "32", "33", "36", "38", "39", "40", "41",
)  # fmt: skip

NAMING = Naming(
    corpus="Oréau",
    language="fr",
    name=r"(?P<speaker>\d\d)[a-z]\d\d(?P<emotion>[A-Z])[a-z]",
    example="f/sessc/10a01Ca.wav",
    recordings=(502, 434),  # all, and those whose emotion listeners recognised
    women=("10", "11", "13", "21", "24", "37", "42"),
    men=MEN,
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
