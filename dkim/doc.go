// Package dkim signs mail that leaves the relay and verifies mail that comes
// to it (RFC 6376, RFC 8301, RFC 8463).
//
// Signatures are verified and made by emersion/go-msgauth (library.go). All
// else is what stands in front of it: bounds, so that it never meets what
// costs it more than its size; the tags, which it reads less strictly or
// otherwise; the keys, which are remembered. Its clock alone has nothing in
// front: what it thinks too late by less than five minutes is checked without
// it (late.go).
//
// A Check is fed with content as it arrives and says at the end whether the
// domain of the author signed it; a Signing is fed in the same way and gives
// the fields to put in front. Both hold the header and a hash, never the body,
// and take time that grows with the content and with nothing else.
//
// It is stricter than the RFC where a relay has reason to be: d= is the
// author's domain itself, l= and SHA-1 are refused, every From is signed. And
// it tells knowledge from trouble: when the DNS cannot say which key there
// is, that is ErrTemporary.
//
// Domains are strings here, lower case.
package dkim
