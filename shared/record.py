"""What is read from and written to JSON files: frozen, strict, and nothing unknown in it."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen JSON object: an unknown or missing key, NaN or a wrong type is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
