"""Table 2: all four settings on two corpora or more, all ways, both targets.

    python -m experiments.table2                                             # IEMOCAP, RECOLA
    python -m experiments.table2 --corpora synthetic_en synthetic_fr --epochs 12 --finetune-samples 40

Writes OUT/report.html and OUT/table2.* from OUT/predictions. Where results of the same protocol
are there already, only what is missing is computed.
"""

from experiments.crosslingual import CROSSLINGUAL
from experiments.finetuning import FINETUNED
from experiments.main import main
from experiments.monolingual import MONOLINGUAL
from experiments.multilingual import MULTILINGUAL

SETTINGS = [MONOLINGUAL, MULTILINGUAL, CROSSLINGUAL, FINETUNED]

if __name__ == "__main__":
    main(__doc__, "table2", SETTINGS)
