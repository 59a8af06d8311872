"""What can be wrong with a partner file.

PartnerError
├── PartnerInvalid   a YAML file breaks the model
├── UnknownPartner   no file of that name
├── UnknownFeed      the partner has no feed of that name
└── UnknownSource    sources.yaml has no source of that name
"""

from __future__ import annotations

from fault import Fault


class PartnerError(Fault):
    """Root of this package's errors."""

    status = 422


class PartnerInvalid(PartnerError):
    """A partner file breaks the model; the message lists every place."""

    status = 500


class UnknownPartner(PartnerError):
    """There is no partner of that name."""

    status = 404


class UnknownFeed(PartnerError):
    """The partner has no feed of that name."""

    status = 404


class UnknownSource(PartnerError):
    """A batch was planned for a source that is not in sources.yaml any more."""

    status = 500
