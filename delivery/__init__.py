"""Bring files to a partner's SFTP server: each once, whole, under its final name, and provably so.

    outcomes = deliver(files, [signature, manifest], settings=ConnectionSettings(...), policy=Policy(...))

Sources are readers of byte ranges; nothing in this package knows Azure. What it does not do: decide what to send,
or keep a record beyond the `Journal` it is given.
"""

from delivery.connection import Connection, ConnectionSettings, connect, shown_host_key
from delivery.deliver import deliver
from delivery.errors import (
    AuthenticationRefused,
    BadHostKey,
    BadPrivateKey,
    Busy,
    ConnectionLost,
    DeadlinePassed,
    DeliveryError,
    FolderMissing,
    HostKeyMismatch,
    NameTaken,
    NoCommonAlgorithm,
    ProtocolViolation,
    RemoteFull,
    RemoteReadOnly,
    RemoteRefused,
    RenameRefused,
    SourceChanged,
    Stalled,
    Unreachable,
    Unusable,
    Vanished,
    VerificationFailed,
)
from delivery.keys import HostKey, describe_private_key, load_private_key, parse_host_key
from delivery.policy import Outcome, Policy, TemporaryName
from delivery.progress import Journal, MemoryJournal, Record
from delivery.source import BytesSource, FileSource, Source

__all__ = [
    "AuthenticationRefused",
    "BadHostKey",
    "BadPrivateKey",
    "Busy",
    "BytesSource",
    "Connection",
    "ConnectionLost",
    "ConnectionSettings",
    "DeadlinePassed",
    "DeliveryError",
    "FileSource",
    "FolderMissing",
    "HostKey",
    "HostKeyMismatch",
    "Journal",
    "MemoryJournal",
    "NameTaken",
    "NoCommonAlgorithm",
    "Outcome",
    "Policy",
    "ProtocolViolation",
    "Record",
    "RemoteFull",
    "RemoteReadOnly",
    "RemoteRefused",
    "RenameRefused",
    "Source",
    "SourceChanged",
    "Stalled",
    "TemporaryName",
    "Unreachable",
    "Unusable",
    "Vanished",
    "VerificationFailed",
    "connect",
    "deliver",
    "describe_private_key",
    "load_private_key",
    "parse_host_key",
    "shown_host_key",
]
