"""URDU: people in Urdu talk shows, four emotions."""

from ser_jax.data.naming import Naming

NAMING = Naming(
    corpus="URDU",
    language="ur",
    name=r"(?P<speaker>S[FM]\d+)_F\d+_(?P<emotion>[A-Z])\d+",
    example="Angry/SM1_F1_A01.wav",
    recordings=(400,),
    women=tuple(f"SF{number}" for number in range(1, 12)),
    men=tuple(f"SM{number}" for number in range(1, 28)),
    emotions={"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"},
)
read = NAMING.read
