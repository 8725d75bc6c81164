"""CREMA-D, the crowd-sourced emotional multimodal actors dataset: 91 actors, six emotions, in English."""

from ser_jax.data.naming import Naming

# As in the release's VideoDemographics.csv; the other 48 are men.
WOMEN = (
    "1002", "1003", "1004", "1006", "1007", "1008", "1009", "1010", "1012", "1013", "1018", "1020",
    "1021", "1024", "1025", "1028", "1029", "1030", "1037", "1043", "1046", "1047", "1049", "1052",
    "1053", "1054", "1055", "1056", "1058", "1060", "1061", "1063", "1072", "1073", "1074", "1075",
    "1076", "1078", "1079", "1082", "1084", "1089", "1091",
)  # fmt: skip

NAMING = Naming(
    corpus="CREMA-D",
    language="en",
    # actor, sentence, emotion, intensity (low, medium, high, unspecified; once X for XX)
    name=r"(?P<speaker>\d{4})_[A-Z]{3}_(?P<emotion>[A-Z]{3})_(LO|MD|HI|XX?)",
    example="AudioWAV/1001_DFA_ANG_XX.wav",
    recordings=(7442,),
    women=WOMEN,
    men=tuple(str(actor) for actor in range(1001, 1092) if str(actor) not in WOMEN),
    emotions={
        "ANG": "anger",
        "DIS": "disgust",
        "FEA": "fear",
        "HAP": "happiness",
        "NEU": "neutral",
        "SAD": "sadness",
    },
    passed_over=r"AudioMP3/[^/]+",  # the same recordings again
)
read = NAMING.read
