"""Speed as ratios against peers of the same run; `./sealift bench NAME`. May import everything; nobody imports it."""
