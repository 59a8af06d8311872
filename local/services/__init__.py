"""Stand-ins for Azure on one machine: real servers where they can be had, the real wire protocol where they cannot."""
