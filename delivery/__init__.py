"""Bring files to a partner's SFTP server: each once, whole, under its final name, and provably so.

    outcomes = deliver(files, [signature, manifest], settings=ConnectionSettings(...), policy=Policy(...))

    verdict = poll_answers(settings, rules, sent, batch="northwind.accruals.2026-11-21.1")

Sources are readers of byte ranges; nothing in this package knows Azure or imports another of ours. What it does not do:
decide what to send, or keep a record beyond the `Journal` it is given.
"""

from __future__ import annotations

from delivery.answers import AnswerRule, FileAnswer, FileVerdict, ReceiptAnswer, SentFile, Verdict, poll_answers
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
    LoginBroken,
    NameTaken,
    NoCommonAlgorithm,
    Outcome,
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
from delivery.keys import parse_host_key
from delivery.policy import Policy, TemporaryName
from delivery.progress import Journal, MemoryJournal, Record
from delivery.settings import LEGACY, ConnectionSettings
from delivery.source import BytesSource, FileSource, Source

__all__ = [
    "LEGACY",
    "AnswerRule",
    "AuthenticationRefused",
    "BadHostKey",
    "BadPrivateKey",
    "Busy",
    "BytesSource",
    "ConnectionLost",
    "ConnectionSettings",
    "DeadlinePassed",
    "DeliveryError",
    "FileAnswer",
    "FileSource",
    "FileVerdict",
    "FolderMissing",
    "HostKeyMismatch",
    "Journal",
    "LoginBroken",
    "MemoryJournal",
    "NameTaken",
    "NoCommonAlgorithm",
    "Outcome",
    "Policy",
    "ProtocolViolation",
    "ReceiptAnswer",
    "Record",
    "RemoteFull",
    "RemoteReadOnly",
    "RemoteRefused",
    "RenameRefused",
    "SentFile",
    "Source",
    "SourceChanged",
    "Stalled",
    "TemporaryName",
    "Unreachable",
    "Unusable",
    "Vanished",
    "Verdict",
    "VerificationFailed",
    "deliver",
    "parse_host_key",
    "poll_answers",
]
