"""Run dbt once, on request, and leave a verdict.

    messages.py     what an error may say: no row, no value, no secret                      (pure)
    request.py      what is asked for, validated; dbt's arguments for it                    (pure)
    summary.py      the verdict: counts, failed nodes, rows, timings, one sentence          (pure)
    invocation.py   dbt in this process: events, cancelling, one manifest for all commands
    settings.py     what the environment says
    artifacts.py    requests, claims and artifacts in a blob container                      (edge)
    claims.py       one verdict per run id
    run.py          the story of a run, from the claim to the exit code

`python -m dbt_runner` is the container's entry point, and the same on a laptop. It knows no platform: the environment says
where things are (see settings.py).
"""
