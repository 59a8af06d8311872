"""How a run goes: the engine, its rules and records, linked services resolved, triggers expanded. Knows no activity."""
