"""Azure Functions' host on one machine: routes, keys, queue triggers with leases, retries and poison queues.

host.py starts it as a process, server.py is that process, worker.py runs the app's functions. Imports only local.wire of ours.
"""
