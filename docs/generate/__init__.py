"""`./sealift docs [--check]`: the pages of docs/ that are made from code and data, not written by hand.

May import everything; nobody imports it. Each module has the page's path as `PAGE` and its text as `render()`.
"""
