"""The model of a partner's files: what leaves, in which shape, by which way; one YAML file per partner.

Imports `delivery` for its rules. Does not read data, move files or know Azure: it turns a YAML file into validated values,
and a window into the query and the file name of one batch.
"""

from __future__ import annotations

from partners.errors import PartnerError, PartnerInvalid, UnknownFeed, UnknownPartner
from partners.layout import Column, Layout, ShortForm
from partners.loading import load_partner, load_partners
from partners.model import Feed, Partner
from partners.query import stage_query

__all__ = [
    "Column",
    "Feed",
    "Layout",
    "Partner",
    "PartnerError",
    "PartnerInvalid",
    "ShortForm",
    "UnknownFeed",
    "UnknownPartner",
    "load_partner",
    "load_partners",
    "stage_query",
]
