package zone

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// complete is everything that New asks for, with the alias of www written in
// another way than ours.
func complete(f Facts) (records []string) {
	for _, r := range New(f) {
		if r.Type == "CNAME" && strings.HasPrefix(r.Name, "www.") {
			records = append(records, r.Name+". 60 IN A 192.0.2.7", r.Name+". 60 IN AAAA 2001:db8::7")
			continue
		}
		if r.Data != "" && r.Type != "PTR" {
			records = append(records, r.Line())
		}
	}
	return records
}

// check asks the world.
func (w *world) check(f Facts) Report {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	return Check(ctx, f, w.config())
}

// bad lists what is in the way: "MX wrong required".
func bad(r Report) (all []string) {
	for _, one := range r.Results {
		if one.Bad() && one.Level <= Recommended {
			all = append(all, fmt.Sprint(one.Type, " ", one.State, " ", one.Level))
		}
	}
	return all
}

func describe(r Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "zone %s, servers %v, signed %v, usable %v, complete %v, remarks %v\n", r.Zone, r.Servers, r.Signed, r.Usable, r.Complete, r.Remarks)
	for _, one := range r.Results {
		fmt.Fprintf(&b, "%-8s %-5s %-40s %s found %v: %s %s\n", one.State, one.Type, one.Name, one.Level, one.Found, one.Problem, one.Change)
	}
	return b.String()
}

func TestAllIsRight(t *testing.T) {
	w := newWorld(t)
	w.publish(complete(named())...)
	r := w.check(named())
	if !r.Usable || !r.Complete || r.Zone != "relay.test" || r.Signed || len(r.Remarks) > 0 || !slices.Equal(r.Servers, []string{"ns1.relay.test", "ns2.relay.test"}) {
		t.Error(describe(r))
	}
	for _, one := range r.Results {
		want := Right
		switch one.Type {
		case "TLSA":
			want = Unneeded
		case "PTR":
			want = Missing
		}
		if one.State != want || one.State == Right && one.Problem+one.Change != "" {
			t.Error(one)
		}
	}
}

// What is written otherwise and means the same is right.
func TestTheMeaningCounts(t *testing.T) {
	replace(t, nil, map[string][]string{
		"MX relay.test":                         {"relay.test. 60 IN MX 50 RELAY.test."},
		"TXT relay.test":                        {`relay.test. 60 IN TXT "site-verification=abc"`, `relay.test. 60 IN TXT "V=SPF1 ip4:192.0.2.0/24 mx/24//64 -all"`},
		"TXT _dmarc.relay.test":                 {`_dmarc.relay.test. 60 IN TXT "v=DMARC1; rua=mailto:x@y.test; aspf=s ; adkim=S; p=Reject; pct=100"`},
		"TXT _mta-sts.relay.test":               {`_mta-sts.relay.test. 60 IN TXT "v=STSv1;id=2024;"`},
		"CNAME mta-sts.relay.test":              {"mta-sts.relay.test. 60 IN A 192.0.2.7"},
		"SRV _imaps._tcp.relay.test":            {"_imaps._tcp.relay.test. 60 IN SRV 10 0 993 Relay.Test.", "_imaps._tcp.relay.test. 60 IN SRV 20 0 993 old.test."},
		"CAA relay.test":                        {`relay.test. 60 IN CAA 0 iodef "mailto:x@y.test"`, `relay.test. 60 IN CAA 128 issue "letsencrypt.org; validationmethods=http-01; accounturi=https://acme.test/acct/7"`},
		"TXT _adsp._domainkey.relay.test":       {`_adsp._domainkey.relay.test. 60 IN TXT "dkim = discardable"`},
		"TXT ed20261125._domainkey.relay.test":  {`ed20261125._domainkey.relay.test. 60 IN TXT "k=ed25519; v=DKIM1; p=11qYAYKxCrfVS/7TyWQHOg7h" "cvPapiMlrwIaaPcHURo"`},
		"TXT rsa20261125._domainkey.relay.test": {"rsa20261125._domainkey.relay.test. 60 IN CNAME keys.relay.test.", "keys.relay.test. 60 IN TXT " + strings.TrimPrefix(New(named())[3].Line(), "rsa20261125._domainkey.relay.test. 3600 IN TXT ")},
	})
}

// replace publishes what is complete with some records in the place of others
// ("TYPE name"), and wants these states.
func replace(t *testing.T, want []string, records map[string][]string) (r Report) {
	t.Helper()
	w := newWorld(t)
	w.publish(replaced(records)...)
	r = w.check(named())
	if got := bad(r); !slices.Equal(got, want) {
		t.Errorf("%v\ngot  %q\nwant %q\n%s", records, got, want, describe(r))
	}
	return r
}

func replaced(records map[string][]string) (all []string) {
	for _, line := range complete(named()) {
		rr, err := dns.NewRR(line)
		if err != nil {
			panic(err)
		}
		key := dns.TypeToString[rr.Header().Rrtype] + " " + strings.TrimSuffix(rr.Header().Name, ".")
		if _, other := records[key]; !other {
			all = append(all, line)
		}
	}
	for _, lines := range records {
		all = append(all, lines...)
	}
	return all
}

func TestEveryWrongStateIsTold(t *testing.T) {
	key64 := strings.Repeat("f", 64)
	for name, c := range map[string]struct {
		want    []string // bad
		records map[string][]string
		problem string // of the first bad result
		change  string
	}{
		"no address":               {[]string{"A missing required", "AAAA missing required"}, map[string][]string{"A relay.test": nil, "AAAA relay.test": nil}, "", "add: relay.test. 3600 IN A 192.0.2.7"},
		"one family only":          {[]string{"AAAA missing recommended"}, map[string][]string{"AAAA relay.test": nil, "AAAA www.relay.test": nil}, "Another address of the relay is there", "add: relay.test. 3600 IN AAAA 2001:db8::7"},
		"another machine":          {[]string{"A missing recommended", "A wrong recommended"}, map[string][]string{"A relay.test": {"relay.test. 60 IN A 203.0.113.1"}}, "", ""},
		"a second address":         {[]string{"A wrong recommended"}, map[string][]string{"A relay.test": {"relay.test. 60 IN A 192.0.2.7", "relay.test. 60 IN A 203.0.113.1"}}, "The domain leads to 203.0.113.1 too", "remove: relay.test. 3600 IN A 203.0.113.1"},
		"no MX":                    {[]string{"MX missing required"}, map[string][]string{"MX relay.test": nil}, "", "add: relay.test. 3600 IN MX 10 relay.test."},
		"MX of another":            {[]string{"MX wrong required"}, map[string][]string{"MX relay.test": {"relay.test. 60 IN MX 1 mail.test."}}, "Mail goes to another server.", "put in their place: relay.test. 3600 IN MX 10 relay.test."},
		"MX of another, too":       {[]string{"MX wrong required"}, map[string][]string{"MX relay.test": {"relay.test. 60 IN MX 1 mail.test.", "relay.test. 60 IN MX 10 relay.test."}}, "Mail goes to other servers, too.", ""},
		"takes no mail":            {[]string{"MX wrong required"}, map[string][]string{"MX relay.test": {"relay.test. 60 IN MX 0 ."}}, "The domain says that it takes no mail.", ""},
		"no policy name":           {[]string{"TXT missing required", "CNAME missing required"}, map[string][]string{"TXT _mta-sts.relay.test": nil, "CNAME mta-sts.relay.test": nil}, "", `add: _mta-sts.relay.test. 3600 IN TXT "v=STSv1; id=202611250000"`},
		"policy name elsewhere":    {[]string{"CNAME wrong required"}, map[string][]string{"CNAME mta-sts.relay.test": {"mta-sts.relay.test. 60 IN CNAME ns1.relay.test."}}, "The name leads elsewhere.", ""},
		"policy name to nothing":   {[]string{"CNAME wrong required"}, map[string][]string{"CNAME mta-sts.relay.test": {"mta-sts.relay.test. 60 IN CNAME gone.relay.test."}}, "It is an alias for a name that has no address.", ""},
		"policy without id":        {[]string{"TXT wrong required"}, map[string][]string{"TXT _mta-sts.relay.test": {`_mta-sts.relay.test. 60 IN TXT "v=STSv1; id=a-b"`}}, "It has no id of letters and digits.", ""},
		"policy twice":             {[]string{"TXT wrong required"}, map[string][]string{"TXT _mta-sts.relay.test": {`_mta-sts.relay.test. 60 IN TXT "v=STSv1; id=1"`, `_mta-sts.relay.test. 60 IN TXT "v=STSv1; id=2"`}}, "There are 2 of them: readers take none.", ""},
		"no www":                   {[]string{"CNAME missing required"}, map[string][]string{"A www.relay.test": nil, "AAAA www.relay.test": nil}, "", "add: www.relay.test. 3600 IN CNAME relay.test."},
		"key cut short":            {[]string{"TXT wrong required"}, map[string][]string{"TXT rsa20261125._domainkey.relay.test": {`rsa20261125._domainkey.relay.test. 60 IN TXT "v=DKIM1;k=rsa;p=MIIBIjANBgkqhkiG"`}}, "It is another key than the one that signs; was it cut short?", ""},
		"key revoked":              {[]string{"TXT wrong recommended"}, map[string][]string{"TXT ed20261125._domainkey.relay.test": {`ed20261125._domainkey.relay.test. 60 IN TXT "v=DKIM1;k=ed25519;p="`}}, "The key is revoked there.", ""},
		"key for tests":            {[]string{"TXT wrong recommended"}, map[string][]string{"TXT ed20261125._domainkey.relay.test": {`ed20261125._domainkey.relay.test. 60 IN TXT "` + edKey + `:y"`}}, "The key is marked as a test", ""},
		"key for SHA-1":            {[]string{"TXT wrong recommended"}, map[string][]string{"TXT ed20261125._domainkey.relay.test": {`ed20261125._domainkey.relay.test. 60 IN TXT "h=sha1;` + edKey + `"`}}, "The key is not for SHA-256", ""},
		"key not for mail":         {[]string{"TXT wrong recommended"}, map[string][]string{"TXT ed20261125._domainkey.relay.test": {`ed20261125._domainkey.relay.test. 60 IN TXT "v=DKIM1;k=ed25519;p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=;s=web"`}}, "The key is not for mail there", ""},
		"no key":                   {[]string{"TXT wrong recommended"}, map[string][]string{"TXT ed20261125._domainkey.relay.test": {`ed20261125._domainkey.relay.test. 60 IN TXT "hello"`}}, "It is no DKIM key.", ""},
		"two keys":                 {[]string{"TXT wrong recommended"}, map[string][]string{"TXT ed20261125._domainkey.relay.test": {`ed20261125._domainkey.relay.test. 60 IN TXT "` + edKey + `"`, `ed20261125._domainkey.relay.test. 60 IN TXT "x"`}}, "There are 2 of them", ""},
		"no SPF":                   {[]string{"TXT missing recommended"}, map[string][]string{"TXT relay.test": {`relay.test. 60 IN TXT "other"`}}, "", `add: relay.test. 3600 IN TXT "v=spf1 a ~all"`},
		"SPF for others":           {[]string{"TXT wrong recommended"}, map[string][]string{"TXT relay.test": {`relay.test. 60 IN TXT "v=spf1 ip4:203.0.113.0/24 -all"`}}, "It does not let 192.0.2.7 send", ""},
		"SPF without IPv6":         {[]string{"TXT wrong recommended"}, map[string][]string{"TXT relay.test": {`relay.test. 60 IN TXT "v=spf1 ip4:192.0.2.7 ~all"`}}, "It does not let 2001:db8::7 send", ""},
		"SPF that ends early":      {[]string{"TXT wrong recommended"}, map[string][]string{"TXT relay.test": {`relay.test. 60 IN TXT "v=spf1 ip4:203.0.113.9"`}}, "It does not let", ""},
		"SPF for the world":        {[]string{"TXT wrong recommended"}, map[string][]string{"TXT relay.test": {`relay.test. 60 IN TXT "v=spf1 +all"`}}, "It lets the whole world send", ""},
		"SPF twice":                {[]string{"TXT wrong recommended"}, map[string][]string{"TXT relay.test": {`relay.test. 60 IN TXT "v=spf1 a ~all"`, `relay.test. 60 IN TXT "v=spf1 -all"`}}, "There are 2 of them", ""},
		"SPF that others decide":   {nil, map[string][]string{"TXT relay.test": {`relay.test. 60 IN TXT "v=spf1 include:other.test -all"`}}, "", ""},
		"DMARC that watches":       {[]string{"TXT wrong recommended"}, map[string][]string{"TXT _dmarc.relay.test": {`_dmarc.relay.test. 60 IN TXT "v=DMARC1;p=none;adkim=s;aspf=s"`}}, "It does not ask to refuse forged mail", ""},
		"DMARC for half":           {[]string{"TXT wrong recommended"}, map[string][]string{"TXT _dmarc.relay.test": {`_dmarc.relay.test. 60 IN TXT "v=DMARC1;p=reject;adkim=s;aspf=s;pct=50"`}}, "It is for a part", ""},
		"DMARC that is lax":        {[]string{"TXT wrong recommended"}, map[string][]string{"TXT _dmarc.relay.test": {`_dmarc.relay.test. 60 IN TXT "v=DMARC1;p=reject"`}}, "It lets names below", ""},
		"ADSP that says else":      {[]string{"TXT wrong recommended"}, map[string][]string{"TXT _adsp._domainkey.relay.test": {`_adsp._domainkey.relay.test. 60 IN TXT "dkim=unknown"`}}, "It says something else.", ""},
		"SRV to another port":      {[]string{"SRV wrong recommended"}, map[string][]string{"SRV _imaps._tcp.relay.test": {"_imaps._tcp.relay.test. 60 IN SRV 0 1 994 relay.test."}}, "It names another host or port.", ""},
		"SRV to nobody":            {[]string{"SRV wrong recommended"}, map[string][]string{"SRV _imaps._tcp.relay.test": {"_imaps._tcp.relay.test. 60 IN SRV 0 0 0 ."}}, "It names another host or port.", ""},
		"no CAA":                   {[]string{"CAA missing recommended"}, map[string][]string{"CAA relay.test": nil}, "", `add: relay.test. 3600 IN CAA 0 issue "letsencrypt.org;accounturi=https://acme.test/acct/7"`},
		"CAA of another":           {[]string{"CAA wrong required"}, map[string][]string{"CAA relay.test": {`relay.test. 60 IN CAA 0 issue "digicert.com"`}}, "letsencrypt.org may not issue", ""},
		"CAA of another account":   {[]string{"CAA wrong required"}, map[string][]string{"CAA relay.test": {`relay.test. 60 IN CAA 0 issue "letsencrypt.org; accounturi=https://acme.test/acct/8"`}}, "letsencrypt.org may not issue", ""},
		"CAA for nobody":           {[]string{"CAA wrong required"}, map[string][]string{"CAA relay.test": {`relay.test. 60 IN CAA 0 issue ";"`}}, "letsencrypt.org may not issue", ""},
		"CAA for every account":    {[]string{"CAA wrong recommended"}, map[string][]string{"CAA relay.test": {`relay.test. 60 IN CAA 0 issue "letsencrypt.org"`}}, "Every account at letsencrypt.org", ""},
		"CAA that nobody knows":    {[]string{"CAA wrong required"}, map[string][]string{"CAA relay.test": {`relay.test. 60 IN CAA 128 future "x"`}}, `A property "future" is marked critical`, ""},
		"reports to nobody":        {nil, map[string][]string{"TXT _smtp._tls.relay.test": {`_smtp._tls.relay.test. 60 IN TXT "v=TLSRPTv1"`}}, "", ""},
		"TLSA of an unsigned zone": {nil, map[string][]string{"TLSA _25._tcp.relay.test": {"_25._tcp.relay.test. 60 IN TLSA 3 1 1 " + key64}}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := replace(t, c.want, c.records)
			for _, one := range r.Results {
				if !one.Bad() || one.Level > Recommended {
					continue
				}
				if !strings.HasPrefix(one.Problem, c.problem) || c.change != "" && one.Change != c.change {
					t.Errorf("%s %s: %q, %q\nwant %q, %q", one.Type, one.Name, one.Problem, one.Change, c.problem, c.change)
				}
				if one.Change == "" {
					t.Errorf("%s %s: nothing to change", one.Type, one.Name)
				}
				break
			}
			if required := slices.ContainsFunc(c.want, func(s string) bool { return strings.HasSuffix(s, "required") }); r.Usable == required {
				t.Errorf("usable %v\n%s", r.Usable, describe(r))
			}
		})
	}
}

// In a signed zone a TLSA record that does not fit keeps mail away.
func TestASignedZoneWantsItsTLSA(t *testing.T) {
	for name, c := range map[string]struct {
		records []string
		want    []string
	}{
		"right":   {[]string{"_25._tcp.relay.test. 60 IN TLSA 3 1 1 " + strings.ToUpper(key), "_25._tcp.relay.test. 60 IN TLSA 3 1 1 " + strings.Repeat("a", 64)}, nil},
		"missing": {nil, []string{"TLSA missing recommended"}},
		"wrong":   {[]string{"_25._tcp.relay.test. 60 IN TLSA 3 1 1 " + strings.Repeat("a", 64)}, []string{"TLSA wrong required"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.add(parentIP, "test.", "relay.test. 60 IN DS 1 13 2 "+strings.Repeat("ab", 32))
			w.publish(replaced(map[string][]string{"TLSA _25._tcp.relay.test": c.records})...)
			r := w.check(named())
			if got := bad(r); !slices.Equal(got, c.want) || !r.Signed {
				t.Errorf("got %q\n%s", got, describe(r))
			}
		})
	}
}

// A domain that is an alias can have nothing else.
func TestAnAliasIsNoDomain(t *testing.T) {
	w := newWorld(t)
	w.publish("relay.test. 60 IN CNAME other.relay.test.", "other.relay.test. 60 IN A 192.0.2.7")
	f := named()
	f.Addrs = nil
	if r := w.check(f); r.Usable || !strings.Contains(describe(r), "The domain is an alias") {
		t.Error(describe(r))
	}
}

// A relay that does not know its addresses takes any.
func TestUnknownAddressesAreTaken(t *testing.T) {
	f := named()
	f.Addrs = nil
	w := newWorld(t)
	w.publish(complete(named())...)
	if r := w.check(f); !r.Complete {
		t.Error(describe(r))
	}
	w = newWorld(t)
	w.publish("x.relay.test. 60 IN A 192.0.2.7")
	if r := w.check(f); r.Usable || !strings.Contains(describe(r), "add the public addresses of the relay") {
		t.Error(describe(r))
	}
}

// Everything that is published counts only if every name server has it.
func TestNameServersThatDisagree(t *testing.T) {
	w := newWorld(t)
	w.publish(replaced(map[string][]string{"MX relay.test": nil})...)
	w.add(ns1IP, "relay.test.", "relay.test. 60 IN MX 10 relay.test.")
	r := w.check(named())
	if got := bad(r); !slices.Equal(got, []string{"MX wrong required"}) || !strings.Contains(describe(r), "Not every name server has it as it should be: ns2.relay.test.") {
		t.Error(describe(r))
	}
}

// Who is asked is who the zone above names: the world asks there, whatever the
// zone says of itself.
func TestTheDelegationSaysWhoIsAsked(t *testing.T) {
	w := newWorld(t)
	w.publish(complete(named())...)
	w.mu.Lock()
	for _, ip := range []string{ns1IP, ns2IP} {
		records := w.hosts[ip].zones["relay.test."]
		records["relay.test."] = slices.DeleteFunc(records["relay.test."], func(rr dns.RR) bool {
			ns, ok := rr.(*dns.NS)
			return ok && ns.Ns == "ns2.relay.test."
		})
	}
	w.mu.Unlock()
	if r := w.check(named()); !slices.Equal(r.Servers, []string{"ns1.relay.test", "ns2.relay.test"}) || !r.Complete {
		t.Error(describe(r))
	}
	// Where the zone above cannot be reached, the resolvers know.
	w.mu.Lock()
	w.hosts[parentIP].silent = true
	w.mu.Unlock()
	if r := w.check(named()); !slices.Equal(r.Servers, []string{"ns1.relay.test"}) || !r.Complete {
		t.Error(describe(r))
	}
}

// A domain is seldom a zone of its own: its servers are those of the zone that
// it lies in, which the SOA record beside "there is none" names.
func TestADomainBelowItsZone(t *testing.T) {
	f := named()
	f.Domain = "chat.relay.test"
	w := newWorld(t)
	w.publish(complete(f)...)
	if r := w.check(f); r.Zone != "relay.test" || !slices.Equal(r.Servers, []string{"ns1.relay.test", "ns2.relay.test"}) || !r.Complete {
		t.Error(describe(r))
	}
}

// A relay with one kind of address is complete with one kind of record.
func TestOneKindOfAddressIsEnough(t *testing.T) {
	for _, addr := range []string{"192.0.2.7", "2001:db8::7"} {
		f := named()
		f.Addrs = addrs(addr)
		w := newWorld(t)
		for _, r := range New(f) {
			if r.Data != "" && r.Type != "PTR" {
				w.publish(r.Line())
			}
		}
		if r := w.check(f); !r.Usable || !r.Complete {
			t.Error(describe(r))
		}
	}
}

// A resolver that remembers what was before is told and harms nothing.
func TestAResolverThatRemembers(t *testing.T) {
	w := newWorld(t)
	w.publish(complete(named())...)
	w.add(resolverIP, "cached.", "relay.test. 60 IN MX 10 old.test.")
	w.mu.Lock()
	w.hosts[resolverIP].change = func(q, a *dns.Msg) *dns.Msg {
		if q.Question[0].Qtype != dns.TypeMX && q.Question[0].Name == "relay.test." {
			a.Answer, a.Ns = nil, nil
			fromZone(a, "relay.test.", w.hosts[ns1IP].zones["relay.test."], q.Question[0].Name, q.Question[0].Qtype, true)
		}
		return a
	}
	w.mu.Unlock()
	r := w.check(named())
	i := slices.IndexFunc(r.Results, func(one Result) bool { return one.Type == "MX" })
	if !r.Usable || r.Results[i].State != Pending {
		t.Error(describe(r))
	}
}

// A new id is wanted when, and only when, the policy is another one.
func TestAnOldPolicyIsTold(t *testing.T) {
	w := newWorld(t)
	w.publish(complete(named())...)
	cfg := w.config()
	cfg.Published = func(id string) bool { return id != "202611250000" }
	r := Check(t.Context(), named(), cfg)
	if got := bad(r); !slices.Equal(got, []string{"TXT wrong required"}) {
		t.Error(describe(r))
	}
}

// Servers that are silent, lie, or lead in circles cost time that is bounded,
// and are told apart from records that are missing.
func TestServersThatDoNotDoAsTheyShould(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world)
		want   string
		usable bool
	}{
		"a silent name server": {func(w *world) { w.hosts[ns2IP].silent = true }, "The name server ns2.relay.test is of no use: it does not answer in time.", true},
		"all name servers silent": {func(w *world) { w.hosts[ns1IP].silent, w.hosts[ns2IP].silent = true, true },
			"The name server ns1.relay.test is of no use", true}, // the resolver knows
		"a name server that refuses": {func(w *world) { w.hosts[ns2IP].zones = nil }, "The name server ns2.relay.test is of no use: it does not answer for this zone.", true},
		"a name server that is lame": {func(w *world) {
			w.hosts[ns2IP].change = func(_, a *dns.Msg) *dns.Msg { a.Authoritative = false; return a }
		}, "The name server ns2.relay.test does not know the zone", true},
		"a silent resolver": {func(w *world) { w.hosts[resolverIP].silent = true }, "No resolver of this machine answers.", false},
		"a resolver that fails": {func(w *world) {
			w.hosts[resolverIP].change = func(_, a *dns.Msg) *dns.Msg { a.Rcode = dns.RcodeServerFailure; return a }
		}, "it says SERVFAIL", false},
		"answers to other questions": {func(w *world) {
			w.hosts[ns2IP].change = func(_, a *dns.Msg) *dns.Msg { a.Question[0].Name = "evil.test."; return a }
		}, "The name server ns2.relay.test is of no use: it answered another question.", true},
		"aliases in a circle": {func(w *world) {
			for _, ip := range []string{ns1IP, ns2IP} {
				delete(w.hosts[ip].zones["relay.test."], "mta-sts.relay.test.")
			}
			w.hosts[ns1IP].zones["relay.test."]["mta-sts.relay.test."] = circle("mta-sts.relay.test.", "b.relay.test.")
			w.hosts[ns1IP].zones["relay.test."]["b.relay.test."] = circle("b.relay.test.", "mta-sts.relay.test.")
			w.hosts[ns2IP].zones["relay.test."] = w.hosts[ns1IP].zones["relay.test."]
		}, "aliases (CNAME) go round in a circle", false},
		"more records than anybody needs": {func(w *world) {
			for _, ip := range []string{ns1IP, ns2IP} {
				for n := range maxRecords + 1 {
					rr, _ := dns.NewRR(fmt.Sprintf("relay.test. 60 IN MX %d x%d.test.", n, n))
					w.hosts[ip].zones["relay.test."]["relay.test."] = append(w.hosts[ip].zones["relay.test."]["relay.test."], rr)
				}
			}
		}, "it has more records than anybody needs", false},
		"a domain that nobody registered": {func(w *world) {
			delete(w.hosts[parentIP].zones["test."], "relay.test.")
			delete(w.hosts[ns1IP].zones, "relay.test.")
		}, "add: relay.test. 3600 IN MX 10 relay.test.", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.publish(complete(named())...)
			w.mu.Lock()
			c.change(w)
			w.mu.Unlock()
			start := time.Now()
			r := w.check(named())
			if !strings.Contains(describe(r), c.want) || r.Usable != c.usable || time.Since(start) > 20*time.Second {
				t.Errorf("%v\n%s", time.Since(start), describe(r))
			}
		})
	}
}

func circle(from, to string) []dns.RR {
	return []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: from, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 60}, Target: to}}
}

// Whatever a server says, reading it ends.
func FuzzRead(f *testing.F) {
	for _, text := range []string{"a.test. 60 IN CNAME b.test.", "a.test. 60 IN A 192.0.2.1", `a.test. 60 IN TXT "v=spf1 a//x mx/ ip4:/ ~all" "y"`, `a.test. 60 IN CAA 0 issue "a;b=c"`} {
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		m := new(dns.Msg)
		m.SetQuestion("a.test.", rr.Header().Rrtype)
		m.Answer = append(m.Answer, rr)
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
		facts := Facts{Domain: "a.test", Addrs: addrs("192.0.2.1"), STS: "1", DKIM: []DKIM{{"s._domainkey", edKey, false}}, Issuers: []Issuer{{"ca.test", ""}}, Key: key, IMAP: 1}
		c := &checker{facts: facts, place: place{apex: "a.test.", signed: true}, said: map[question][]view{}}
		c.cfg.Resolvers = []string{""}
		records := New(facts)
		for _, q := range c.questions(records) {
			a, err := read(m, "a.test.", q.kind)
			c.said[q] = []view{{a, err}}
		}
		for _, r := range records {
			c.judge(r, 0)
		}
		c.strays()
		referral(m, "a.test.")
	})
}
