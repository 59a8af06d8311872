"""What every local service needs: a TLS web server, certificates, child processes that end with us, a fault-making proxy."""
