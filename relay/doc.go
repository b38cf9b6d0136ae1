// Package relay is an iroh relay: it passes opaque datagrams between clients
// that name each other by public key and cannot reach each other directly. It
// serves both generations of the protocol at one path and passes packets
// between them too: iroh 0.29 to 0.90, to which the Delta Chat core belongs,
// and iroh 0.91 and later.
//
//	/relay    the protocol, behind an HTTP/1.1 upgrade
//	/derp     the same for the first generation, which called it so once
//	/ping     200, for clients that measure how far the relay is
//
// Whoever asks is served: clients of other servers must reach ours, and keys
// are made anew at each start of a client. So what anybody can use is bounded,
// by network, by connection and in all. Nothing is stored, and no key is
// logged.
//
// A connection costs one goroutine, asleep below TLS without a buffer. Packets
// wait in a queue of their recipient, are dropped when it is full, and are
// written by a goroutine that exists while there is something to write, so no
// client waits for another.
package relay
