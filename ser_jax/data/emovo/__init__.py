"""EMOVO, an Italian emotional speech database: six actors, seven emotions."""

from ser_jax.data.naming import Naming

NAMING = Naming(
    corpus="EMOVO",
    language="it",
    name=r"(?P<emotion>[a-z]{3})-(?P<speaker>[fm]\d)-[a-z]\d",
    example="f1/dis-f1-b1.wav",
    recordings=(588,),
    women=("f1", "f2", "f3"),
    men=("m1", "m2", "m3"),
    emotions={
        "dis": "disgust",  # disgusto
        "gio": "happiness",  # gioia
        "neu": "neutral",
        "pau": "fear",  # paura
        "rab": "anger",  # rabbia
        "sor": "surprise",  # sorpresa
        "tri": "sadness",  # tristezza
    },
)
read = NAMING.read
