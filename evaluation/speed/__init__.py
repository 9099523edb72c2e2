"""How long things take and how large they get: commands, for no test depends on a clock."""
