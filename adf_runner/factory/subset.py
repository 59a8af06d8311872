"""What the local executor runs: every activity, linked service, dataset and trigger with its properties.

This is the one list. The loader refuses what is not here, docs/adf-subset.md is printed from it, and nothing is ever
ignored: a property that Azure knows and this list does not is refused by name before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from adf_runner.factory.shapes import (
    Shape,
    activities,
    anything,
    array,
    boolean,
    choice,
    expression,
    integer,
    mapping,
    record,
    reference,
    secret,
    text,
    timespan,
    union,
)

DAY = 24 * 3600
ENCODINGS = {
    "UTF-8": "utf-8", "UTF-8 without BOM": "utf-8", "US-ASCII": "ascii", "BIG5": "big5", "EUC-JP": "euc_jp",
    "EUC-KR": "euc_kr", "GB2312": "gb2312", "GB18030": "gb18030", "SHIFT-JIS": "shift_jis", "CP866": "cp866",
    "IBM437": "cp437", "IBM850": "cp850", "IBM852": "cp852", "ISO-8859-1": "latin-1", "ISO-8859-2": "iso8859-2",
    "ISO-8859-5": "iso8859-5", "ISO-8859-7": "iso8859-7", "ISO-8859-9": "iso8859-9", "ISO-8859-13": "iso8859-13",
    "ISO-8859-15": "iso8859-15", "WINDOWS-1250": "cp1250", "WINDOWS-1251": "cp1251", "WINDOWS-1252": "cp1252",
    "WINDOWS-1253": "cp1253", "WINDOWS-1254": "cp1254", "WINDOWS-1255": "cp1255", "WINDOWS-1256": "cp1256",
    "WINDOWS-1257": "cp1257", "WINDOWS-1258": "cp1258",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityKind:
    """One activity type: its typeProperties, and which of the outer properties it may carry."""

    properties: Mapping[str, Shape]
    policy: str = "full"  # full: timeout, retry, secure*; secure: both secure*; input: secureInput; none
    linked_service: tuple[str, ...] = ()
    datasets: bool = False
    note: str = ""


KNOB = "without meaning for the local executor"
CONNECTIONS = integer(low=0, as_text=True, note=KNOB)
BLOB_READ = {
    "recursive": boolean(),
    "wildcardFolderPath": text(),
    "wildcardFileName": text(),
    "fileListPath": text(
        note="container/path of a text file that names one file a line, relative to the dataset's folder"
    ),
    "deleteFilesAfterCompletion": boolean(),
    "enablePartitionDiscovery": boolean(choices=(False,), note="columns out of folder names need Azure"),
    "modifiedDatetimeStart": text(),
    "modifiedDatetimeEnd": text(),
    "maxConcurrentConnections": CONNECTIONS,
}
BLOB_PREFIX_READ = {**BLOB_READ, "prefix": text(note="of the blob's whole name in its container")}
SFTP_READ = {
    **BLOB_READ,
    "disableChunking": boolean(note="without meaning for the local executor: it always reads ahead"),
}
BLOB_WRITE = {
    "blockSizeInMB": integer(low=1, high=100),
    "copyBehavior": choice("PreserveHierarchy", "FlattenHierarchy", "MergeFiles", ""),
    "metadata": array(record({"name": text(required=True), "value": text(required=True)})),
    "maxConcurrentConnections": CONNECTIONS,
}
SFTP_WRITE = {
    "operationTimeout": timespan(high=DAY),
    "useTempFileRename": boolean(),
    "copyBehavior": choice("PreserveHierarchy", "FlattenHierarchy", "MergeFiles", ""),
    "maxConcurrentConnections": CONNECTIONS,
}
HTTP_READ = {
    "requestMethod": choice("GET", "POST"),
    "additionalHeaders": text(),
    "requestBody": text(),
    "requestTimeout": timespan(as_text=True),
    "maxConcurrentConnections": CONNECTIONS,
}
STORE_READS = {
    "AzureBlobStorageReadSettings": BLOB_PREFIX_READ,
    "AzureBlobFSReadSettings": BLOB_READ,
    "SftpReadSettings": SFTP_READ,
    "HttpReadSettings": HTTP_READ,
}
READS = union(STORE_READS)
WRITES = union(
    {
        "AzureBlobStorageWriteSettings": BLOB_WRITE,
        "AzureBlobFSWriteSettings": BLOB_WRITE,
        "SftpWriteSettings": SFTP_WRITE,
    }
)
UNZIP = union(
    {
        "ZipDeflateReadSettings": {
            "preserveZipFileNameAsFolder": boolean(choices=(False,), note="rows have no folder")
        },
        "TarGZipReadSettings": {
            "preserveCompressionFileNameAsFolder": boolean(choices=(False,), note="rows have no folder")
        },
    }
)
SOURCE_KNOBS = {"maxConcurrentConnections": CONNECTIONS}
POSTGRES_SOURCE = {
    "query": text(note="one SELECT, WITH, VALUES or TABLE statement"),
    "queryTimeout": timespan(),
    "partitionOption": choice("None"),
}
SQL_PARAMETERS = anything(note="{name: {value, type}}")
SQL_SOURCE = {
    "sqlReaderQuery": text(note="run as it stands; its first set of rows is read"),
    "sqlReaderStoredProcedureName": text(),
    "storedProcedureParameters": SQL_PARAMETERS,
    "isolationLevel": choice("ReadCommitted", "ReadUncommitted", "RepeatableRead", "Serializable", "Snapshot"),
    "queryTimeout": timespan(),
    "partitionOption": choice("None", note="parallel reads need Azure"),
    "disableMetricsCollection": boolean(note=KNOB),
    "maxConcurrentConnections": CONNECTIONS,
}
SQL_SINK = {
    "preCopyScript": text(note="in the same transaction as the rows"),
    "writeBehavior": choice("insert", "Insert", "upsert", "Upsert"),
    "upsertSettings": record(
        {
            "useTempDB": boolean(note=f"{KNOB}: the interim table is a temporary one"),
            "interimSchemaName": text(note=KNOB),
            "keys": array(note="the primary key where they are left out"),
        }
    ),
    "tableOption": choice("none", "None", "autoCreate", note="a table that is missing is not created here: an error"),
    "sqlWriterUseTableLock": boolean(note=KNOB),
    "writeBatchSize": integer(low=1, note=KNOB),
    "writeBatchTimeout": timespan(note=KNOB),
    "disableMetricsCollection": boolean(note=KNOB),
    "maxConcurrentConnections": CONNECTIONS,
}
DELIMITED_SOURCE = {
    "storeSettings": READS,
    "formatSettings": union(
        {"DelimitedTextReadSettings": {"skipLineCount": integer(low=0, as_text=True), "compressionProperties": UNZIP}}
    ),
}
JSON_SOURCE = {
    "storeSettings": READS,
    "formatSettings": union({"JsonReadSettings": {"compressionProperties": UNZIP}}),
}
PARQUET_SOURCE = {"storeSettings": READS, "formatSettings": union({"ParquetReadSettings": {}})}
REST_SOURCE = {
    "requestMethod": choice("GET", "POST"),
    "requestBody": text(),
    "additionalHeaders": anything(note="an object, or lines 'name: value'"),
    "paginationRules": anything(
        note="AbsoluteUrl, QueryParameters.*, Headers.*, EndCondition:*, MaxRequestNumber, supportRFC5988"
    ),
    "httpRequestTimeout": timespan(),
    "requestInterval": timespan(),
}
SOURCES = {
    "AzurePostgreSqlSource": POSTGRES_SOURCE,
    "AzureSqlSource": SQL_SOURCE,
    "SqlMISource": SQL_SOURCE,
    "SqlServerSource": SQL_SOURCE,
    "SqlSource": SQL_SOURCE,
    "DelimitedTextSource": DELIMITED_SOURCE,
    "JsonSource": JSON_SOURCE,
    "ParquetSource": PARQUET_SOURCE,
    "RestSource": REST_SOURCE,
    "BinarySource": {"storeSettings": READS, "formatSettings": union({"BinaryReadSettings": {}})},
}
SINKS = {
    "DelimitedTextSink": {
        "storeSettings": WRITES,
        "formatSettings": union(
            {"DelimitedTextWriteSettings": {"quoteAllText": boolean(), "fileExtension": text(required=True)}},
            required=True,
        ),
    },
    "JsonSink": {
        "storeSettings": WRITES,
        "formatSettings": union({"JsonWriteSettings": {"filePattern": choice("setOfObjects", "arrayOfObjects")}}),
    },
    "AzurePostgreSqlSink": {
        "preCopyScript": text(),
        "writeMethod": choice("BulkInsert", "CopyCommand"),
        "writeBatchSize": integer(low=1, note="without meaning for the local executor: COPY streams"),
        "writeBatchTimeout": timespan(note="without meaning for the local executor"),
    },
    "AzureSqlSink": SQL_SINK,
    "SqlMISink": SQL_SINK,
    "SqlServerSink": SQL_SINK,
    "SqlSink": SQL_SINK,
    "ParquetSink": {"storeSettings": WRITES, "formatSettings": union({"ParquetWriteSettings": {}})},
    "BinarySink": {"storeSettings": WRITES},
}
MAPPED = {
    "name": text(),
    "path": text(note="of a hierarchical source: ['a'] or $['a']['b']"),
    "ordinal": integer(low=1, note="of a source without a header"),
    "type": text(note="as Studio writes it; values keep the type that they have"),
    "physicalType": text(note="as Studio writes it"),
    "precision": integer(note="as Studio writes it"),
    "scale": integer(note="as Studio writes it"),
}
TRANSLATOR = union(
    {
        "TabularTranslator": {
            "mappings": array(record({"source": record(MAPPED, required=True), "sink": record(MAPPED, required=True)})),
            "collectionReference": text(note="the array whose items are the rows, of JSON and REST sources"),
            "mapComplexValuesToString": boolean(choices=(False,), note="write the path of what is needed"),
            "typeConversion": boolean(),
            "typeConversionSettings": record(
                {
                    "allowDataTruncation": boolean(),
                    "treatBooleanAsNumber": boolean(),
                    "dateTimeFormat": text(),
                    "dateTimeOffsetFormat": text(),
                    "culture": choice("en-us", ""),
                }
            ),
        }
    }
)  # fmt: skip
AUTHENTICATION = union(
    {
        "MSI": {"resource": text(required=True), "credential": reference("CredentialReference")},
        "Basic": {"username": text(required=True), "password": secret(required=True)},
    }
)
RETURN_TYPES = {
    "Expression": {"content": text(required=True)},
    "String": {"content": text(required=True)},
    "Int": {"content": integer(required=True)},
    "Float": {"content": anything(required=True)},
    "Boolean": {"content": boolean(required=True)},
    "Null": {},
    "Array": {"content": array(required=True)},
    "Object": {"content": array(required=True)},
}

SQL_SERVICES = ("AzureSqlDatabase", "AzureSqlMI", "SqlServer")
SCRIPT_PARAMETER = record(
    {
        "name": text(required=True),
        "type": choice(
            "Boolean", "DateTime", "DateTimeOffset", "Decimal", "Double", "Guid", "Int16", "Int32", "Int64", "Single",
            "String", required=True,
        ),
        "value": anything(),
        "direction": choice("Input", "Output", "InputOutput"),
        "size": integer(),
    }
)  # fmt: skip

# Which dataset type a source or sink of a Copy goes with.
DATASET_OF = {
    "AzurePostgreSqlSource": "AzurePostgreSqlTable",
    "AzureSqlSource": "AzureSqlTable",
    "SqlMISource": "AzureSqlMITable",
    "SqlServerSource": "SqlServerTable",
    "DelimitedTextSource": "DelimitedText",
    "JsonSource": "Json",
    "BinarySource": "Binary",
    "ParquetSource": "Parquet",
    "RestSource": "RestResource",
    "ParquetSink": "Parquet",
    "AzurePostgreSqlSink": "AzurePostgreSqlTable",
    "AzureSqlSink": "AzureSqlTable",
    "SqlMISink": "AzureSqlMITable",
    "SqlServerSink": "SqlServerTable",
    "DelimitedTextSink": "DelimitedText",
    "JsonSink": "Json",
    "BinarySink": "Binary",
}
# A host key as Data Factory writes it: MD5 with type and bits, or SHA-256.
FINGERPRINT = re.compile(
    r"(?:(?P<type>[a-z0-9@.-]+) (?P<bits>\d+) )?"
    r"(?:(?:MD5:)?(?P<md5>[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){15})|SHA256:(?P<sha256>[A-Za-z0-9+/]{43})=?)"
)

ACTIVITIES: dict[str, ActivityKind] = {
    "ExecutePipeline": ActivityKind(
        policy="input",
        properties={
            "pipeline": reference("PipelineReference", required=True, dynamic=False),
            "parameters": mapping(anything(), dynamic=False),
            "waitOnCompletion": boolean(dynamic=False),
        },
    ),
    "ForEach": ActivityKind(
        policy="none",
        properties={
            "items": expression(required=True),
            "isSequential": boolean(dynamic=False),
            "batchCount": integer(low=1, high=50, dynamic=False),
            "activities": activities(required=True),
        },
        note="iterations run in batchCount threads (20 by default); the others go on when one fails",
    ),
    "IfCondition": ActivityKind(
        policy="none",
        properties={
            "expression": expression(required=True),
            "ifTrueActivities": activities(),
            "ifFalseActivities": activities(),
        },
    ),
    "Switch": ActivityKind(
        policy="none",
        properties={"on": expression(required=True), "cases": activities(), "defaultActivities": activities()},
    ),
    "Until": ActivityKind(
        policy="none",
        properties={
            "expression": expression(required=True),
            "timeout": timespan(high=90 * DAY),
            "activities": activities(required=True),
        },
        note="an inner failure does not end it; ADF's own status after one is not documented: here the expression decides",
    ),
    "Wait": ActivityKind(policy="none", properties={"waitTimeInSeconds": integer(required=True, low=0)}),
    "SetVariable": ActivityKind(
        policy="secure",
        properties={
            "variableName": text(required=True, dynamic=False),
            "value": anything(),
            "setSystemVariable": boolean(dynamic=False),
        },
        note="variableName pipelineReturnValue with setSystemVariable true sets what the parent reads",
    ),
    "AppendVariable": ActivityKind(
        policy="none", properties={"variableName": text(required=True, dynamic=False), "value": anything(required=True)}
    ),
    "Filter": ActivityKind(
        policy="none", properties={"items": expression(required=True), "condition": expression(required=True)}
    ),
    "Fail": ActivityKind(policy="none", properties={"message": text(required=True), "errorCode": text(required=True)}),
    "WebActivity": ActivityKind(
        properties={
            "method": choice("GET", "POST", "PUT", "PATCH", "DELETE", required=True),
            "url": text(required=True),
            "headers": mapping(text()),
            "body": anything(),
            "authentication": AUTHENTICATION,
            "httpRequestTimeout": timespan(low=60, high=600),
            "turnOffAsync": boolean(dynamic=False),
            "disableCertValidation": boolean(choices=(False,), note="certificates are always checked", dynamic=False),
        },
        note="an answer that is not a JSON object is text in output.Response; 4 MB at most",
    ),
    "AzureFunctionActivity": ActivityKind(
        linked_service=("AzureFunction",),
        properties={
            "method": choice("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", required=True),
            "functionName": text(required=True, note="may hold a route and a query"),
            "headers": mapping(text()),
            "body": anything(),
        },
        note="the answer must be one JSON object; a call is cut at 230 s as the platform does",
    ),
    "Lookup": ActivityKind(
        properties={
            "source": union(
                {key: value for key, value in SOURCES.items() if key != "BinarySource"},
                required=True,
            ),
            "dataset": reference("DatasetReference", required=True, dynamic=False),
            "firstRowOnly": boolean(),
        },
        note="5,000 rows at most (the rest is cut, as in ADF), 4 MB at most (then it fails)",
    ),
    "GetMetadata": ActivityKind(
        properties={
            "dataset": reference("DatasetReference", required=True, dynamic=False),
            "fieldList": array(
                choice(
                    "exists",
                    "itemName",
                    "itemType",
                    "size",
                    "lastModified",
                    "childItems",
                    "contentMD5",
                    "structure",
                    "columnCount",
                ),
                required=True,
            ),
            "storeSettings": union(
                {
                    name: {
                        key: fields[key]
                        for key in ("recursive", "enablePartitionDiscovery", "maxConcurrentConnections")
                    }
                    for name, fields in STORE_READS.items()
                    if name != "HttpReadSettings"
                }
            ),
            "formatSettings": union(
                {
                    "BinaryReadSettings": {},
                    "DelimitedTextReadSettings": {},
                    "JsonReadSettings": {},
                    "ParquetReadSettings": {},
                }
            ),
        },
        note="contentMD5 on blobs only; a table of SQL Server has structure, columnCount and exists",
    ),
    "Copy": ActivityKind(
        datasets=True,
        properties={
            "source": union(SOURCES, required=True),
            "sink": union(SINKS, required=True),
            "translator": TRANSLATOR,
            "enableStaging": boolean(choices=(False,), note="staged copies need Azure", dynamic=False),
            "validateDataConsistency": boolean(),
            "parallelCopies": integer(low=1, as_text=True, note=KNOB),
            "dataIntegrationUnits": integer(
                low=0, as_text=True, note="what Azure bills a copy by; without meaning here"
            ),
        },
        note="Binary pairs only with Binary",
    ),
    "Delete": ActivityKind(
        properties={
            "dataset": reference("DatasetReference", required=True, dynamic=False),
            "recursive": boolean(),
            "enableLogging": boolean(choices=(False,), note="logs of deletions need Azure", dynamic=False),
            "storeSettings": union({key: value for key, value in STORE_READS.items() if key != "HttpReadSettings"}),
        }
    ),
    "Script": ActivityKind(
        linked_service=("AzurePostgreSql", *SQL_SERVICES),
        properties={
            "scripts": array(
                record(
                    {
                        "type": choice("Query", "NonQuery", required=True),
                        "text": text(required=True),
                        "parameters": array(SCRIPT_PARAMETER),
                    }
                ),
                required=True,
            ),
            "scriptBlockExecutionTimeout": timespan(),
        },
        note="scripts run in order in one session; logs are refused, and script parameters on PostgreSQL",
    ),
    "SqlServerStoredProcedure": ActivityKind(
        linked_service=SQL_SERVICES,
        properties={"storedProcedureName": text(required=True), "storedProcedureParameters": SQL_PARAMETERS},
    ),
    "Validation": ActivityKind(
        policy="none",
        properties={
            "dataset": reference("DatasetReference", required=True, dynamic=False),
            "timeout": timespan(),
            "sleep": integer(low=1),
            "minimumSize": integer(low=0),
            "childItems": boolean(),
        },
    ),
}

LOCATIONS = union(
    {
        "AzureBlobStorageLocation": {"container": text(required=True), "folderPath": text(), "fileName": text()},
        "AzureBlobFSLocation": {"fileSystem": text(required=True), "folderPath": text(), "fileName": text()},
        "SftpLocation": {"folderPath": text(), "fileName": text()},
        "HttpServerLocation": {"relativeUrl": text(), "folderPath": text(), "fileName": text()},
    },
    required=True,
)
GZIP = choice("none", "None", "gzip", "Gzip", "GZip")
PACKED = {
    "compressionCodec": choice("none", "None", "gzip", "Gzip", "GZip", "ZipDeflate", "zipDeflate"),
    "compressionLevel": choice("Fastest", "Optimal"),
}
PARQUET_CODECS = choice("none", "snappy", "gzip", "lzo", "zstd", note="lzo is not written here")
SQL_TABLE = {"schema": text(), "table": text(), "tableName": text()}
DATASETS: dict[str, Mapping[str, Shape]] = {
    "AzurePostgreSqlTable": {"schema": text(), "table": text(), "tableName": text()},
    "AzureSqlTable": SQL_TABLE,
    "AzureSqlMITable": SQL_TABLE,
    "SqlServerTable": SQL_TABLE,
    "DelimitedText": {
        "location": LOCATIONS,
        "columnDelimiter": text(),
        "rowDelimiter": text(),
        "quoteChar": text(),
        "escapeChar": text(),
        "firstRowAsHeader": boolean(),
        "nullValue": text(),
        "encodingName": choice(*ENCODINGS),
        **PACKED,
    },
    "Json": {
        "location": LOCATIONS,
        "encodingName": choice("UTF-8", "UTF-8 without BOM"),
        "compression": record({"type": PACKED["compressionCodec"], "level": PACKED["compressionLevel"]}),
    },
    "Parquet": {"location": LOCATIONS, "compressionCodec": PARQUET_CODECS},
    "Binary": {
        "location": LOCATIONS,
        "compression": record({"type": GZIP, "level": PACKED["compressionLevel"]}),
    },
    "RestResource": {
        "relativeUrl": text(),
        "requestMethod": choice("GET", "POST"),
        "requestBody": text(),
        "additionalHeaders": mapping(text()),
        "paginationRules": mapping(text()),
    },
}
ENCRYPTED = text(note="only Azure can read it: a run here needs an override")
SQL_CONNECTION = {
    "connectionString": anything(note="of the old version: a text, a secret of Key Vault or a SecureString"),
    "server": text(note="host or host,port"),
    "database": text(),
    "encrypt": anything(note="mandatory or optional, true or false; strict is refused when it runs"),
    "trustServerCertificate": boolean(),
    "userName": text(),
    "password": secret(),
    "encryptedCredential": ENCRYPTED,
    "applicationIntent": choice("ReadWrite", "ReadOnly"),
    "connectTimeout": integer(low=0),
    "connectRetryCount": integer(low=0, high=255, note="for databases that sleep or move"),
    "connectRetryInterval": integer(low=1, high=60),
    "commandTimeout": integer(low=0, note=KNOB),
    "pooling": boolean(note=KNOB),
    "minPoolSize": integer(low=0, note=KNOB),
    "maxPoolSize": integer(low=1, note=KNOB),
    "loadBalanceTimeout": integer(low=0, note=KNOB),
    "multipleActiveResultSets": boolean(note=KNOB),
    "packetSize": integer(low=512, high=32768, note=KNOB),
}
SQL_IDENTITIES = ("SQL", "SystemAssignedManagedIdentity", "UserAssignedManagedIdentity")
AZURE_SQL = {
    **SQL_CONNECTION,
    "authenticationType": choice(*SQL_IDENTITIES, note="without one and without userName: managed identity"),
    "credential": reference("CredentialReference"),
}
LINKED_SERVICES: dict[str, Mapping[str, Shape]] = {
    "AzureSqlDatabase": AZURE_SQL,
    "AzureSqlMI": AZURE_SQL,
    "SqlServer": {**SQL_CONNECTION, "authenticationType": choice("SQL", "Windows", note="Windows needs an override")},
    "AzurePostgreSql": {
        "server": text(required=True),
        "port": integer(low=1, high=65535, as_text=True),
        "database": text(required=True),
        "authenticationType": choice("Basic"),
        "username": text(required=True),
        "password": secret(),
        "encryptedCredential": ENCRYPTED,
        "sslMode": integer(choices=(0, 1, 2, 3, 4, 5), note="0 Disable .. 5 Verify-full"),
        "timeout": integer(low=0),
        "commandTimeout": integer(low=0),
        "encoding": choice("UTF8", "utf8", "UTF-8"),
    },
    "AzureBlobStorage": {
        "serviceEndpoint": text(),
        "connectionString": anything(note="a text, a secret of Key Vault or a SecureString"),
        "accountKey": secret(),
        "sasUri": anything(note="a text, a secret of Key Vault or a SecureString"),
        "sasToken": secret(),
        "authenticationType": choice("Anonymous", "AccountKey", "SasUri", "Msi"),
        "accountKind": text(),
        "encryptedCredential": ENCRYPTED,
        "credential": reference("CredentialReference"),
    },
    "AzureBlobFS": {
        "url": text(required=True),
        "accountKey": secret(),
        "sasUri": anything(note="a text, a secret of Key Vault or a SecureString"),
        "sasToken": secret(),
        "encryptedCredential": ENCRYPTED,
        "credential": reference("CredentialReference"),
    },
    "RestService": {
        "url": text(required=True),
        "authenticationType": choice("Anonymous", "Basic", "ManagedServiceIdentity", required=True),
        "userName": text(),
        "password": secret(),
        "aadResourceId": text(),
        "authHeaders": mapping(anything()),
        "enableServerCertificateValidation": boolean(choices=(True,), note="certificates are always checked"),
        "encryptedCredential": ENCRYPTED,
        "credential": reference("CredentialReference"),
    },
    "AzureFunction": {
        "functionAppUrl": text(required=True),
        "functionKey": secret(),
        "encryptedCredential": ENCRYPTED,
        "authentication": choice("Anonymous"),
    },
    "AzureKeyVault": {"baseUrl": text(required=True), "credential": reference("CredentialReference")},
    "Sftp": {
        "host": text(required=True),
        "port": integer(low=1, high=65535),
        "authenticationType": choice("SshPublicKey", "Basic", required=True),
        "userName": text(required=True),
        "password": secret(),
        "privateKeyContent": secret(note="base64 of a classic PEM RSA key"),
        "passPhrase": secret(),
        "hostKeyFingerprint": text(required=True, note="'ssh-rsa 2048 aa:bb:..' (MD5) or 'SHA256:...'"),
        "skipHostKeyValidation": boolean(choices=(False,), note="the server's key is always checked"),
        "encryptedCredential": ENCRYPTED,
    },
    "HttpServer": {
        "url": text(required=True),
        "authenticationType": choice("Anonymous", "Basic", required=True),
        "userName": text(),
        "password": secret(),
        "enableServerCertificateValidation": boolean(choices=(True,), note="certificates are always checked"),
        "encryptedCredential": ENCRYPTED,
    },
}
LINKED_SERVICE_VERSIONS = {"AzurePostgreSql": "2.0"}

CONDITIONS = array(choice("Succeeded", "Failed", "Skipped", "Completed"), required=True, dynamic=False)
DEPENDS = array(record({"activity": text(required=True), "dependencyConditions": CONDITIONS}), dynamic=False)
POLICY_FULL = {
    "timeout": timespan(high=7 * DAY),
    "retry": integer(low=0),
    "retryIntervalInSeconds": integer(low=0, high=DAY, dynamic=False),
    "secureInput": boolean(dynamic=False),
    "secureOutput": boolean(dynamic=False),
}
POLICIES: dict[str, Mapping[str, Shape]] = {
    "full": POLICY_FULL,
    "secure": {"secureInput": boolean(dynamic=False), "secureOutput": boolean(dynamic=False)},
    "input": {"secureInput": boolean(dynamic=False)},
    "none": {},
}
ACTIVITY_FIELDS: dict[str, Shape] = {
    "name": text(required=True, dynamic=False),
    "description": anything(),
    "type": text(required=True, dynamic=False),
    "state": choice("Active", "Inactive", dynamic=False),
    "onInactiveMarkAs": choice("Succeeded", "Failed", "Skipped", dynamic=False),
    "dependsOn": DEPENDS,
    "userProperties": array(record({"name": text(required=True), "value": anything(required=True)}), dynamic=False),
    "typeProperties": anything(required=True),
}
FOLDER = record({"name": text(required=True, dynamic=False)}, dynamic=False)
PARAMETER_TYPES = ("String", "Int", "Float", "Bool", "Array", "Object", "SecureString")
PARAMETERS = mapping(
    record(
        {
            "type": choice(*PARAMETER_TYPES, *(name.lower() for name in PARAMETER_TYPES), required=True),
            "defaultValue": anything(),
        }
    ),
    dynamic=False,
)
VARIABLES = mapping(
    record(
        {"type": choice("String", "Boolean", "Bool", "Array", "Integer", required=True), "defaultValue": anything()}
    ),
    dynamic=False,
)
PIPELINE_FIELDS: dict[str, Shape] = {
    "description": anything(),
    "activities": anything(required=True),
    "parameters": PARAMETERS,
    "variables": VARIABLES,
    "concurrency": integer(low=1, dynamic=False),
    "policy": record(
        {
            "elapsedTimeMetric": record({"duration": timespan()}, dynamic=False),
            "cancelAfter": record({}, choices=({},), note="Studio writes it empty", dynamic=False),
        },
        dynamic=False,
    ),
    "annotations": array(dynamic=False),
    "folder": FOLDER,
    "lastPublishTime": text(),
}
DATASET_FIELDS: dict[str, Shape] = {
    "description": anything(),
    "type": text(required=True, dynamic=False),
    "linkedServiceName": reference("LinkedServiceReference", required=True, dynamic=False),
    "parameters": PARAMETERS,
    "annotations": array(dynamic=False),
    "folder": FOLDER,
    "schema": anything(),
    "typeProperties": anything(),
}
LINKED_SERVICE_FIELDS: dict[str, Shape] = {
    "description": anything(),
    "type": text(required=True, dynamic=False),
    "version": text(dynamic=False),
    "connectVia": reference("IntegrationRuntimeReference", dynamic=False),
    "parameters": PARAMETERS,
    "annotations": array(dynamic=False),
    "typeProperties": anything(required=True),
}
RETRY_POLICY = record({"count": integer(low=0), "intervalInSeconds": integer(low=30, high=DAY)}, dynamic=False)
SELF_DEPENDENCY = {"size": timespan(), "offset": text(required=True)}
TRIGGER_DEPENDENCY = {
    "referenceTrigger": reference("TriggerReference", required=True),
    "size": timespan(),
    "offset": text(),
}
PIPELINE_CALL = record(
    {
        "pipelineReference": reference("PipelineReference", required=True, dynamic=False),
        "parameters": mapping(anything()),
    },
    dynamic=False,
)
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
SCHEDULE = record(
    {
        "minutes": array(integer(low=0, high=59), dynamic=False),
        "hours": array(integer(low=0, high=23), dynamic=False),
        "weekDays": array(choice(*WEEKDAYS), dynamic=False),
        "monthDays": array(integer(low=-31, high=31), dynamic=False),
        "monthlyOccurrences": array(
            record({"day": choice(*WEEKDAYS, required=True), "occurrence": integer(low=-5, high=5)}), dynamic=False
        ),
    },
    dynamic=False,
)
TRIGGERS: dict[str, Mapping[str, Shape]] = {
    "ScheduleTrigger": {
        "recurrence": record(
            {
                "frequency": choice("Minute", "Hour", "Day", "Week", "Month", "Year", required=True),
                "interval": integer(low=1),
                "startTime": text(required=True),
                "endTime": text(),
                "timeZone": text(),
                "schedule": SCHEDULE,
            },
            required=True,
            dynamic=False,
        )
    },
    "BlobEventsTrigger": {
        "blobPathBeginsWith": text(dynamic=False),
        "blobPathEndsWith": text(dynamic=False),
        "ignoreEmptyBlobs": boolean(dynamic=False),
        "events": array(
            choice("Microsoft.Storage.BlobCreated", "Microsoft.Storage.BlobDeleted"), required=True, dynamic=False
        ),
        "scope": text(required=True, dynamic=False),
    },
    "CustomEventsTrigger": {
        "subjectBeginsWith": text(dynamic=False),
        "subjectEndsWith": text(dynamic=False),
        "events": array(anything(), required=True, dynamic=False),
        "scope": text(required=True, dynamic=False),
        "advancedFilters": array(anything(), dynamic=False),
    },
    "TumblingWindowTrigger": {
        "frequency": choice("Minute", "Hour", "Month", required=True, dynamic=False),
        "interval": integer(required=True, low=1, dynamic=False),
        "startTime": text(required=True, dynamic=False),
        "endTime": text(dynamic=False),
        "delay": timespan(dynamic=False),
        "maxConcurrency": integer(required=True, low=1, high=50, dynamic=False),
        "retryPolicy": RETRY_POLICY,
        "dependsOn": array(
            union({"SelfDependencyTumblingWindowTriggerReference": SELF_DEPENDENCY,
                   "TumblingWindowTriggerDependencyReference": TRIGGER_DEPENDENCY}), dynamic=False
        ),
    },
}  # fmt: skip
TRIGGER_FIELDS: dict[str, Shape] = {
    "description": anything(),
    "type": text(required=True, dynamic=False),
    "runtimeState": choice("Started", "Stopped", dynamic=False),
    "annotations": array(dynamic=False),
    "pipelines": array(PIPELINE_CALL, dynamic=False),
    "pipeline": PIPELINE_CALL,
    "typeProperties": anything(required=True),
}
GLOBAL_TYPES = (*(name.lower() for name in PARAMETER_TYPES[:6]), *PARAMETER_TYPES[:6])
FACTORY_FIELDS: dict[str, Shape] = {
    "globalParameters": mapping(
        record({"type": choice(*GLOBAL_TYPES, required=True), "value": anything(required=True)}),
        dynamic=False,
    ),
    "publicNetworkAccess": choice("Enabled", "Disabled", dynamic=False),
    "encryption": anything(),
    "globalConfigurations": anything(),
    "trustModeClaimForMi": anything(),
    "purviewConfiguration": anything(),
    "repoConfiguration": anything(),
}  # fmt: skip
FOLDERS_NOT_RUN = (
    "integrationRuntime",
    "credential",
    "managedVirtualNetwork",
    "dataflow",
    "template",
    "globalParameters",
)
SYSTEM_FIELDS = ("RunId", "Pipeline", "DataFactory", "GroupId", "TriggerType", "TriggerId", "TriggerName", "TriggerTime",
                 "TriggeredByPipelineName", "TriggeredByPipelineRunId")  # fmt: skip
