"""What Azure or good sense would refuse in a factory, found before anything runs. Imports no activity and no store."""
