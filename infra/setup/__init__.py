"""From an empty subscription to a stage that is ready: `./sealift azure setup | status` (cli/azure.py) run what is here.

tools      every call of az and azd: one place for retries, for a tool's own words and for what to do about them
stage      what is known of a stage: its settings, azd's environment, who is signed in
checks     before anything is made: tools, sign-in, rights, providers, region, quotas, names
steps      what setup does, each with how to see that it is done
warehouse  roles and rights in PostgreSQL, made by the administrator's own sign-in
"""
