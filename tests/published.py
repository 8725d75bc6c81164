"""What publishers say of their recordings' names, and the names of whole releases."""

import itertools

# Published names, and what they mean: id, speaker, sex, emotion, arousal and valence in halves.
KNOWN = {
    "emodb": {
        "wav/03a01Wa.wav": ("03a01Wa", "03", "male", "anger", "+-"),
        "wav/08a02La.wav": ("08a02La", "08", "female", "boredom", "--"),
        "wav/09b03Ec.wav": ("09b03Ec", "09", "female", "disgust", "--"),
        "wav/10b10Ad.wav": ("10b10Ad", "10", "male", "fear", "+-"),
        "wav/13a07Fb.wav": ("13a07Fb", "13", "female", "happiness", "++"),
        "wav/15a05Tb.wav": ("15a05Tb", "15", "male", "sadness", "--"),
        "wav/16b09Na.wav": ("16b09Na", "16", "female", "neutral", "-+"),
    },
    "ravdess": {
        "Actor_01/03-01-01-01-01-01-01.wav": ("03-01-01-01-01-01-01", "actor01", "male", "neutral", "-+"),
        "Actor_02/03-01-02-02-02-01-02.wav": ("03-01-02-02-02-01-02", "actor02", "female", "calm", "-+"),
        "Actor_03/03-01-03-01-01-02-03.wav": ("03-01-03-01-01-02-03", "actor03", "male", "happiness", "++"),
        "Actor_10/03-01-04-02-01-01-10.wav": ("03-01-04-02-01-01-10", "actor10", "female", "sadness", "--"),
        "Actor_21/03-01-05-01-02-02-21.wav": ("03-01-05-01-02-02-21", "actor21", "male", "anger", "+-"),
        "Actor_22/03-01-06-01-02-01-22.wav": ("03-01-06-01-02-01-22", "actor22", "female", "fear", "+-"),
        "Actor_23/03-01-07-02-01-02-23.wav": ("03-01-07-02-01-02-23", "actor23", "male", "disgust", "--"),
        "Actor_24/03-01-08-02-02-02-24.wav": ("03-01-08-02-02-02-24", "actor24", "female", "surprise", "++"),
    },
    "cafe": {
        "Colère/Faible/01-C-1-1.wav": ("01-C-1-1", "01", "male", "anger", "+-"),
        "Dégoût/Fort/02-D-2-2.wav": ("02-D-2-2", "02", "female", "disgust", "--"),
        "Joie/Fort/11-J-2-3.wav": ("11-J-2-3", "11", "male", "happiness", "++"),
        "Neutre/12-N-1-6.wav": ("12-N-1-6", "12", "female", "neutral", "-+"),
        "Neutre/03-N-2.aiff": ("03-N-2", "03", "male", "neutral", "-+"),
        "Peur/Faible/07-P-1-4.aiff": ("07-P-1-4", "07", "male", "fear", "+-"),
        "Surprise/Fort/08-S-2-5.wav": ("08-S-2-5", "08", "female", "surprise", "++"),
        "Tristesse/Faible/10-T-1-6.wav": ("10-T-1-6", "10", "female", "sadness", "--"),
    },
    "oreau": {
        "f/sessc/10a02Ca.wav": ("10a02Ca", "10", "female", "anger", "+-"),
        "f/sessd/42a03Da.wav": ("42a03Da", "42", "female", "disgust", "--"),
        "f/sessj/37a05Ja.wav": ("37a05Ja", "37", "female", "happiness", "++"),
        "m/sessn/41a09Na.wav": ("41a09Na", "41", "male", "neutral", "-+"),
        "m/sessp/16a20Pa.wav": ("16a20Pa", "16", "male", "fear", "+-"),
        "m/sesss/07z03Sa.wav": ("07z03Sa", "07", "male", "surprise", "++"),
        "m/sesst/25a04Ta.wav": ("25a04Ta", "25", "male", "sadness", "--"),
    },
    "crema_d": {
        "AudioWAV/1001_DFA_ANG_XX.wav": ("1001_DFA_ANG_XX", "1001", "male", "anger", "+-"),
        "AudioWAV/1002_IEO_DIS_HI.wav": ("1002_IEO_DIS_HI", "1002", "female", "disgust", "--"),
        "AudioWAV/1091_IEO_FEA_LO.wav": ("1091_IEO_FEA_LO", "1091", "female", "fear", "+-"),
        "AudioWAV/1090_IEO_HAP_MD.wav": ("1090_IEO_HAP_MD", "1090", "male", "happiness", "++"),
        "AudioWAV/1063_DFA_NEU_XX.wav": ("1063_DFA_NEU_XX", "1063", "female", "neutral", "-+"),
        "AudioWAV/1040_ITH_SAD_X.wav": ("1040_ITH_SAD_X", "1040", "male", "sadness", "--"),
    },
    "emovo": {
        "f1/dis-f1-b1.wav": ("dis-f1-b1", "f1", "female", "disgust", "--"),
        "f2/gio-f2-l4.wav": ("gio-f2-l4", "f2", "female", "happiness", "++"),
        "f3/neu-f3-n5.wav": ("neu-f3-n5", "f3", "female", "neutral", "-+"),
        "m1/pau-m1-d2.wav": ("pau-m1-d2", "m1", "male", "fear", "+-"),
        "m2/rab-m2-b3.wav": ("rab-m2-b3", "m2", "male", "anger", "+-"),
        "m3/sor-m3-l1.wav": ("sor-m3-l1", "m3", "male", "surprise", "++"),
        "m3/tri-m3-n1.wav": ("tri-m3-n1", "m3", "male", "sadness", "--"),
    },
    "savee": {
        "AudioData/DC/a01.wav": ("DC_a01", "DC", "male", "anger", "+-"),
        "AudioData/JE/a01.wav": ("JE_a01", "JE", "male", "anger", "+-"),
        "AudioData/JE/d15.wav": ("JE_d15", "JE", "male", "disgust", "--"),
        "AudioData/JK/f02.wav": ("JK_f02", "JK", "male", "fear", "+-"),
        "AudioData/KL/h03.wav": ("KL_h03", "KL", "male", "happiness", "++"),
        "AudioData/KL/n30.wav": ("KL_n30", "KL", "male", "neutral", "-+"),
        "AudioData/DC/sa04.wav": ("DC_sa04", "DC", "male", "sadness", "--"),
        "AudioData/DC/su05.wav": ("DC_su05", "DC", "male", "surprise", "++"),
    },
    "urdu": {
        "Angry/SM1_F10_A010.wav": ("SM1_F10_A010", "SM1", "male", "anger", "+-"),
        "Happy/SF1_F1_H01.wav": ("SF1_F1_H01", "SF1", "female", "happiness", "++"),
        "Neutral/SM20_F10_N014.wav": ("SM20_F10_N014", "SM20", "male", "neutral", "-+"),
        "Sad/SF11_F4_S06.wav": ("SF11_F4_S06", "SF11", "female", "sadness", "--"),
    },
}
LANGUAGES = {
    "emodb": "de", "ravdess": "en", "cafe": "fr", "oreau": "fr",
    "crema_d": "en", "emovo": "it", "savee": "en", "urdu": "ur",
}  # fmt: skip


def ravdess():
    for emotion, intensity, *rest in itertools.product(range(1, 9), (1, 2), (1, 2), (1, 2), range(1, 25)):
        if (emotion, intensity) != (1, 2):
            fields = "-".join(f"{field:02d}" for field in (3, 1, emotion, intensity, *rest))
            yield f"Actor_{rest[-1]:02d}/{fields}.wav"
