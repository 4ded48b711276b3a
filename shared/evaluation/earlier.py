"""An earlier report's figures beside those of a model whose codecs it had."""

from shared.errors import InvalidInput
from shared.evaluation.names import OURS
from shared.evaluation.rows import Results


def with_earlier(results: Results, earlier: Results) -> Results:
    """Add an earlier report's rows, and all that its other judges found.

    A judge that is not the model's own extractor sees reconstructions alone, so that its figures
    hold for every model with the same codecs.

    Args:
        results: of a new model.
        earlier: of a model with the same codecs.

    Raises:
        InvalidInput: OTHER_CODECS; the maps are not of the same size.
    """
    sizes, sizes_before = _sizes(results), _sizes(earlier)
    if sizes != sizes_before:
        raise InvalidInput(
            "OTHER_CODECS",
            f"mean bytes of {earlier.model} are {sizes_before}, of {results.model} {sizes}; only a "
            "report on the same codecs can be shown beside",
        )
    asked = {row.judge for row in results.rows}
    return results.model_copy(
        update={
            "rows": results.rows + tuple(r for r in earlier.rows if r.model != results.model),
            "judges": results.judges + tuple(j for j in earlier.judges if j.judge not in asked),
            "matrix": results.matrix + tuple(c for c in earlier.matrix if c.judge not in asked),
            "differences": results.differences
            + tuple(d for d in earlier.differences if d.judge not in asked),
            "open_set": results.open_set
            + tuple(o for o in earlier.open_set if o.judge not in asked),
        }
    )


def _sizes(results: Results) -> dict[str, float | None]:
    """Mean bytes of every operating point of a report's model."""
    return {
        row.operating_point: row.bytes_mean
        for row in results.rows
        if row.codec == OURS and row.model == results.model and row.quantized
    }
