"""Key Vault and the managed-identity endpoint over TLS: challenge, secrets, keys, sign. Imports only local.wire of ours."""
