package resolver

import (
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Whatever a resolver says, following it ends, and what is kept is small.
func FuzzFollow(f *testing.F) {
	for _, records := range [][]string{
		{`a.test. 60 IN TXT "x"`},
		{`a.test. 60 IN CNAME b.test.`, `b.test. 60 IN CNAME a.test.`},
		{`a.test. 60 IN CNAME b.test.`, `b.test. 60 IN TXT "x" "y"`},
		{`a.test. 60 IN CNAME .`},
	} {
		m := new(dns.Msg)
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		octets, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(octets)
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		m := new(dns.Msg)
		if m.Unpack(octets) != nil {
			return
		}
		c := &chain{name: "a.test.", seen: map[string]bool{"a.test.": true}, ttl: time.Hour, denied: time.Minute}
		if c.walk(m, dns.TypeTXT) != nil {
			return
		}
		records, err := c.records(m, dns.TypeTXT)
		c.deny(m)
		if len(records) > maxRecords || len(c.seen) > maxHops+1 || c.ttl < 0 || c.denied < 0 || err != nil && records != nil {
			t.Fatalf("%d records, %d names, %v, %v", len(records), len(c.seen), c.ttl, c.denied)
		}
	})
}
