"""The Functions host lets a property of a JSON message replace trigger metadata of that name, so no message has one."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from batches.accepting import SealMessage, ShapeMessage
from batches.delivering import DeliverMessage

METADATA = {"queuetrigger", "dequeuecount", "expirationtime", "id", "insertiontime", "nextvisibletime", "popreceipt"}


@pytest.mark.parametrize("message", [SealMessage, ShapeMessage, DeliverMessage])
def test_message_has_no_property_with_a_name_of_trigger_metadata(message: type[BaseModel]) -> None:
    fields = message.model_fields
    names = {
        str(name).lower() for key, field in fields.items() for name in (key, field.alias, field.serialization_alias)
    }

    assert names & METADATA == set()
