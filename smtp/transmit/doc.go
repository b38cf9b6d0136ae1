// Package transmit brings one message to the recipients of one destination
// domain, over SMTP or HTTPS, and says what became of each of them. It keeps
// no queue: whoever calls decides when to try again.
//
//	out := t.Deliver(ctx, "peer.test", transmit.Message{From: ..., To: ..., Content: ...})
//	out.Per[i].Code == 250 // the peer has it for recipient i
//
// The hosts of a destination come from its MX records (RFC 5321 section 5.1).
// Each takes mail on port 25 with STARTTLS, and, when it is a chatmail relay,
// by a POST to /mxdeliv on port 443. Which of the two works and is quicker is
// remembered for each host and found by a race when it is not known.
//
// The certificate of a host must be valid for its name. Destinations that
// cannot have a trusted one (address literals, domains that begin with "_")
// are spoken to under TLS of any certificate; those that the operator named
// may do without TLS. MTA-STS (RFC 8461) and DANE (RFC 7672) add demands where
// a domain publishes them.
//
// Only a 250 to the content, or a 200 to the POST, means delivered.
package transmit
