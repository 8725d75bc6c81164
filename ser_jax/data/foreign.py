"""What the files of a prepared corpus say of its records, looked at before tfds follows them.

tfds imports every class that is named as one of a record's features, whatever its module does, and opens the
files that a split names, wherever they lie.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax.data.corpus import NUMBERS, TEXTS
from ser_jax.data.databases import DATABASES
from ser_jax.data.logmel import BANDS, FRAMES

SPLIT = "utterances"
SHARDS = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"  # names of a split's files


def foreign_file(folder: Path) -> str | None:
    """Which file of a dataset says anything else of it than ours do; None where none does."""
    info = json.loads((folder / "dataset_info.json").read_text())
    name = info["name"]
    expected = {
        "name": name if name in DATABASES else None,
        "moduleName": f"ser_jax.data.{name}.{name}_dataset_builder",
        "fileFormat": "array_record",
        "features": None,
    }
    splits = [(split["name"], split["filepathTemplate"]) for split in info["splits"]]
    if {key: info.get(key) for key in expected} != expected or splits != [(SPLIT, SHARDS)]:
        return "dataset_info.json"
    if json.loads((folder / "features.json").read_text()) != _features():
        return "features.json"
    return None


def _features() -> dict[str, Any]:
    """What tfds writes of our records."""
    room = "tensorflow_datasets.core.features."

    def tensor(dtype: type[np.generic], shape: tuple[int, ...] = ()) -> dict[str, Any]:
        whole = np.issubdtype(dtype, np.integer)
        kind, encoding = ("scalar.Scalar", "none") if whole else ("tensor_feature.Tensor", "bytes")
        sizes = {"dimensions": [str(size) for size in shape]} if shape else {}
        return {
            "pythonClassName": room + kind,
            "tensor": {"dtype": np.dtype(dtype).name, "encoding": encoding, "shape": sizes},
        }

    columns = {name: {"pythonClassName": f"{room}text_feature.Text", "text": {}} for name in TEXTS}
    columns |= {name: tensor(dtype) for name, dtype in NUMBERS.items()}
    columns["logmel"] = tensor(np.float32, (FRAMES, BANDS))
    return {"pythonClassName": f"{room}features_dict.FeaturesDict", "featuresDict": {"features": columns}}
