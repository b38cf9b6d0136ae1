// Package zone knows what the DNS must say about a relay, and finds out what
// it does say.
//
//	records := zone.New(zone.Facts{Domain: "relay.test", ...})
//	os.Stdout.WriteString(zone.Text(records))
//	report := zone.Check(ctx, facts, zone.CheckConfig{})
//
// New asks nobody. Check finds the name servers of the zone from its
// delegation, asks each of them and the resolvers of this machine, and judges
// each record by what it means to those who read it, not by how it is written:
// another order of tags, other chunks of a text, an address in the place of an
// alias are right.
//
// Sources: RFC 1035 (master files), RFC 5321 section 5, RFC 6186 (SRV), RFC
// 6376 (DKIM), RFC 6698 and 7672 (TLSA), RFC 7208 (SPF), RFC 7489 (DMARC), RFC
// 8460 (TLS reports), RFC 8461 (MTA-STS), RFC 8657 and 8659 (CAA), RFC 5617
// (ADSP, historic; some still ask).
package zone
