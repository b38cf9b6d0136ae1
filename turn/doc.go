// Package turn relays calls between clients that cannot reach each other
// (STUN, RFC 8489; TURN, RFC 8656), over UDP, TCP and TLS.
//
// The library speaks the protocol: it answers requests, and keeps allocations
// until they end. Around it stands what it does not have, or not safely:
//
//	door      a socket that clients come to; looks at every message before the
//	          library does, and lets only well-formed ones of a bounded rate in
//	credit    what a sender is owed: strangers get no more than they send
//	nonces    what strangers are told, short and for one client alone
//	relay     the socket of one allocation, through which all data passes: who
//	          may be reached, how much passes
//	ways      its permissions and channels
//	socket    how both read and send, at the least cost
//	Secrets   what credentials are made of
//	peerRule  which peers nobody may reach: what is inside
//
// Two clients of one relay meet at its own address. That address is granted
// only where a live allocation is relayed, which is checked packet by packet.
//
// Nothing here is logged that tells who calls whom.
package turn
