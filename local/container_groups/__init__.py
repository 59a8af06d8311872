"""The ARM surface of container groups (PUT, GET, start, stop, logs), each a dbt process. Imports only local.wire of ours."""
