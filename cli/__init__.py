"""What a person types: `./sealift VERB`, one module per verb, listed in __main__.py.

May import everything; nobody imports it. It reaches the local stack or real Azure, whichever the environment names.
"""
