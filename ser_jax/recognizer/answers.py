"""What the server says, and how its OpenAPI document describes it."""

import base64
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_jax.features import logmel
from ser_jax.recognizer.hearing import Heard
from ser_jax.recognizer.recognition import schema
from ser_jax.recognizer.trained import TARGETS

if TYPE_CHECKING:
    from starlette.responses import Response

    from ser_jax.recognizer.recognizer import Recognizer

COLUMNS = 1500  # of a drawing, at most; no screen shows more
JSON = "application/json"
SCHEMAS = "#/components/schemas/"

PROBLEM = {
    "type": "object",
    "properties": {
        "detail": {"type": "string", "description": "a sentence: what was found, what was expected"}
    },
    "required": ["detail"],
}
SOUND = {
    "type": "object",
    "description": "A recording in columns of equal length, the last of which may be shorter.",
    "properties": {
        "step": {"type": "number", "exclusiveMinimum": 0, "description": "s from one column to the next"},
        "least": {"type": "array", "items": {"type": "number"}, "description": "smallest sample of a column"},
        "largest": {"type": "array", "items": {"type": "number"}, "description": "its largest sample"},
        "bands": {"type": "integer", "minimum": 1, "description": "of the log-mel, the lowest first"},
        "decibels": {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 2,
            "maxItems": 2,
            "description": "levels that the bytes 0 and 255 of the log-mel stand for",
        },
        "logmel": {
            "type": "string",
            "contentEncoding": "base64",
            "description": "a byte for every band of every column, column by column: the mean level",
        },
    },
    "required": ["step", "least", "largest", "bands", "decibels", "logmel"],
}
HEARING = {
    "type": "object",
    "properties": {"recognition": {"$ref": f"{SCHEMAS}Recognition"}, "sound": {"$ref": f"{SCHEMAS}Sound"}},
    "required": ["recognition", "sound"],
}
MODEL = {
    "type": "object",
    "properties": {
        "demonstration": {
            "type": "boolean",
            "description": "trained on synthetic speech: says nothing of people",
        },
        "targets": {
            "type": "object",
            "description": "two classes each; probabilities are of the second",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
        "seeds": {"type": "integer", "description": "networks of each target"},
        "bytes": {"type": "integer", "description": "that a recording may have"},
        "facts": {"type": "object", "description": "what it was trained on and how"},
    },
    "required": ["demonstration", "targets", "seeds", "bytes", "facts"],
}
PROBLEMS = {
    400: "a hop or a name that cannot be",
    403: "asked for under another name, or by another site's page",
    408: "sent too slowly, or nothing for too long",
    413: "more bytes than a recording may have",
    422: "no usable audio, or more hours than a recording may have at this hop",
    503: "too many recordings are there, or the server is ending; Retry-After says when to try again, s",
    507: "no room to keep the recording meanwhile",
}


def problem(status: int, sentence: str, headers: dict[str, str] | None = None) -> "Response":
    """A response that says what is wrong."""
    from starlette.responses import JSONResponse

    return JSONResponse({"detail": sentence}, status, headers)


def of(content: Any) -> "Response":
    """A response of JSON, compact; text that is not valid Unicode is escaped."""
    from starlette.responses import Response

    return Response(json.dumps(content, separators=(",", ":")), media_type=JSON)


def described(recognizer: "Recognizer", most: int) -> dict[str, Any]:
    """The object `Model` of the OpenAPI document; `most` bytes may a recording have."""
    facts = json.dumps(recognizer.model.facts)
    return {
        "demonstration": recognizer.is_demonstration,
        "targets": {target: TARGETS[target].class_names for target in recognizer.targets},
        "seeds": recognizer.model.facts["seeds"],
        "bytes": most,
        "facts": json.loads(facts, parse_constant=lambda name: None),  # NaN is no JSON
    }


def drawing(heard: Heard) -> dict[str, Any]:
    """The object `Sound` of the OpenAPI document, of no more than `COLUMNS` columns."""
    each = -(-len(heard.logmel) // COLUMNS)
    starts = np.arange(0, len(heard.logmel), each)
    columns = (heard.logmel[start : start + each] for start in starts)  # reduceat would copy all as float64
    mean = np.stack([column.mean(axis=0, dtype=np.float64) for column in columns])
    least, largest = float(mean.min()), max(float(mean.max()), float(mean.min()) + 1)
    grey = np.round((mean - least) / (largest - least) * 255).astype(np.uint8)
    low, high = heard.outline.T
    return {
        "step": round(each * logmel.HOP / logmel.RATE, 6),
        "least": np.minimum.reduceat(low, starts).astype(np.float64).round(4).tolist(),
        "largest": np.maximum.reduceat(high, starts).astype(np.float64).round(4).tolist(),
        "bands": grey.shape[1],
        "decibels": [round(least, 2), round(largest, 2)],
        "logmel": base64.b64encode(grey.tobytes()).decode(),
    }


def answering(name: str, statuses: Iterable[int] = ()) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation that answers with the schema `name`."""
    found: dict[int | str, dict[str, Any]] = {
        200: {"description": "OK", "content": {JSON: {"schema": {"$ref": SCHEMAS + name}}}}
    }
    for status in statuses:
        content = {JSON: {"schema": {"$ref": f"{SCHEMAS}Problem"}}}
        found[status] = {"description": PROBLEMS[status], "content": content}
    return found


def taking_sound() -> dict[str, Any]:
    """The `openapi_extra` of an operation whose body is a recording."""
    binary: dict[str, Any] = {"application/octet-stream": {}, "audio/*": {}}
    return {
        "requestBody": {
            "required": True,
            "description": "the bytes of a WAV, AIFF, FLAC, OGG or MP3 file, whatever they are called",
            "content": binary,
        }
    }


def with_schemas(document: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI document with the schemas that its answers refer to; that of a recognition is `schema()`."""
    text = json.dumps({key: value for key, value in schema().items() if key != "$schema"})
    recognition = json.loads(text.replace("#/$defs/", SCHEMAS))
    ours = {"Problem": PROBLEM, "Sound": SOUND, "Hearing": HEARING, "Model": MODEL}
    ours |= {**recognition.pop("$defs"), "Recognition": recognition}
    document.setdefault("components", {})["schemas"] = ours
    return document
