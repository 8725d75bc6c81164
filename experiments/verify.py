"""Recomputes every table from the stored predictions and says whether they match.

    python -m experiments.verify RESULTS

Ends with status 1 where a table says something else than the predictions, or predictions are not there or of
other utterances than the protocol's folds; with 2 where the protocol or predictions are damaged.
"""

from pathlib import Path

from experiments import predictions, report, tables
from experiments.kinds import kind
from experiments.predictions import Cell, ResultsError
from experiments.results import Results
from ser_jax import flags
from ser_jax.shutdown import run_script


def differing(out: Path) -> list[str]:
    """What of a results folder does not fit together; what is checked is printed.

    Raises: ResultsError where there is no table, or something is damaged.
    """
    results = Results(out)
    if not results.tables:
        raise ResultsError(f"{out} holds no table, expected one that an experiment has written")
    wrong = []
    for name, shown in results.document["tables"].items():
        wrong += [cell for cell in shown["cells"] if not _fits(results, Cell.parse(cell))]
        for file, content in report.contents(results, name, results.rows(shown["settings"])).items():
            path = out / file
            same = path.exists() and path.read_bytes() == content.encode()
            otherwise = "DIFFERS" if path.exists() else "LOST"
            print(f"{file}: {'as the predictions say' if same else otherwise}")
            wrong += [] if same else [file]
    if (out / "attention.json").exists():
        looked = out / "attention.md"
        same = looked.exists() and looked.read_bytes() == (tables.attention(results) + "\n").encode()
        print(f"attention.md: {'as attention.json says' if same else 'DIFFERS'}")
        wrong += [] if same else ["attention.md"]
    return wrong


def _fits(results: Results, cell: Cell) -> bool:
    """Whether a cell's predictions are there, of the protocol's utterances, each in its fold."""
    path = predictions.file(results.out, cell)
    if not path.exists():
        known = results.missing.get(cell)
        if known is None:
            print(f"{path.name}: LOST")
        return known is not None
    said = results.said(cell)
    folds = [results.document["folds"].get(name, []) for name in cell.tested]
    parts = enumerate(zip(*folds, strict=True))
    tested = {i: {utterance for fold in part for utterance in fold["test"]} for i, part in parts}
    several = len(set(said.fold.tolist())) > 1
    everyone = set().union(*tested.values())
    fits = bool(kind(cell.setting).sizes) or all(  # who is tuned answers for the development speakers
        utterance in (tested.get(fold, ()) if several else everyone)
        for utterance, fold in zip(said.utterance.tolist(), said.fold.tolist(), strict=True)
    )
    if not fits:
        print(f"{path.name}: OTHER UTTERANCES than the protocol's folds")
    return fits


def main(arguments: list[str] | None = None) -> None:
    """Checks the folder given."""
    parser = flags.Parser(prog="python -m experiments.verify", description=__doc__)
    parser.add_argument(
        "results", type=flags.folder, metavar="RESULTS", help="folder that an experiment has written"
    )
    options = parser.parse_args(arguments)
    run_script("verify", lambda: 1 if differing(options.results) else 0)


if __name__ == "__main__":
    main()
