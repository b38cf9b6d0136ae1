package transmit

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A provider that blocks port 25 is noticed, and told from peers that are away;
// one host that answers there ends it.
func TestABlockedPort25IsNoticed(t *testing.T) {
	w := newWorld(t)
	tr := w.transmitter(nil)
	try := func(domain string) {
		t.Helper()
		tr.Deliver(t.Context(), domain, letter(domain, "a"))
	}
	for i := range 2 {
		name := fmt.Sprintf("shut%d.test", i)
		w.newHost(name)
		try(name)
		try(name)
	}
	if f := tr.Findings(); len(f) != 0 {
		t.Errorf("two are no proof: %+v", f)
	}
	w.newHost("shut2.test")
	try("shut2.test")
	if f := tr.Findings(); len(f) != 1 || f[0].ID != "federation.port-25-blocked" || strings.Contains(f[0].Text, "HTTPS works") {
		t.Errorf("three: %+v", f)
	}
	r := &relay{status: http.StatusOK}
	w.web("relay2.test", false, r.ServeHTTP)
	try("relay2.test")
	if f := tr.Findings(); len(f) != 1 || !strings.Contains(f[0].Text, "HTTPS works") {
		t.Errorf("and a relay by HTTPS: %+v", f)
	}
	w.mail("open.test", &mta{after: "250 2.0.0 x"})
	try("open.test")
	if f := tr.Findings(); len(f) != 0 {
		t.Errorf("one that is open: %+v", f)
	}
	only := w.transmitter(func(c *Config) { c.HTTPSOnly = true })
	if f := only.Findings(); len(f) != 1 || f[0].ID != "federation.https-only" {
		t.Errorf("HTTPS only: %+v", f)
	}
}
