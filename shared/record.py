"""Base class of records in JSON files."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen JSON object. Unknown or missing keys, NaN and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
