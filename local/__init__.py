"""The cloud on one machine: real servers where they can be had, else small servers that speak the real wire protocol.

May import function_app and what is deployed, and adf_runner for its overrides. Never deployed; only cli, docs, benchmarks
and tests import it.
"""
