// Package netserve accepts connections for every protocol: one place for
// limits, deadlines, TLS records and the end of a connection, all below TLS.
package netserve
