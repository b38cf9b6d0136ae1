// Package acme keeps the relay's TLS certificate: where it comes from, when it
// changes and what is wrong with it.
//
// A Source gives certificates in one of these modes:
//
//   - self-signed: made here for the relay's own name or address. The key is
//     made once and stays, whatever happens to the certificate: clients
//     remember keys.
//   - files: two PEM files that somebody else renews. They are read again when
//     they change; a broken pair leaves the one before in service.
//   - acme: an authority issues and renews it (RFC 8555). The self-signed one
//     serves until the first is there; its key is that of all of them.
//
// On disk, in Config.Dir (mode 0700):
//
//	self-signed.key    PKCS #8 private key, ECDSA P-256, PEM, mode 0600
//	self-signed.crt    the certificate, PEM, mode 0600
//	acme/              accounts and issued certificates, as certmagic keeps them
//	acme-history.json  how attempts to get certificates ended
package acme
