// Package netserve accepts connections for every protocol: one place for
// limits, deadlines, TLS records and the end of a connection, all below TLS.
//
// A Server owns the listening sockets. Each accepted connection is a Conn;
// with TLS, a *tls.Conn stands directly on it, and nothing ever stands on the
// *tls.Conn, so that servers which ask for that very type keep working.
//
// Errors of a Conn name no address: what they print may be logged.
package netserve
