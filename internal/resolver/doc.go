// Package resolver asks the DNS, through a recursive resolver that somebody
// runs for us, and remembers what it said.
//
//	r, err := resolver.New(resolver.Config{Server: "127.0.0.1:53"})
//	answer, err := r.TXT(ctx, "s1._domainkey.relay.test")
//
// What it knows of an answer and net.Resolver does not tell: how old it is,
// whether DNSSEC vouches for it, and whether "none" is knowledge (ErrNoName,
// ErrNoRecord) or trouble (ErrTemporary). Knowledge refuses mail for good,
// trouble makes it wait.
//
// Everything is bounded: names, answers, chains of CNAME, questions under
// way, memory. Questions for the same that come at the same time are asked
// once.
//
// Source: RFC 1035, RFC 2308 (negative caching), RFC 6891 (EDNS), RFC 7766
// (TCP), RFC 6840 section 5.7 (the AD bit in a question).
package resolver
