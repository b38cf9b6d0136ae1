package zone

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// verdict is what one server's records mean for a wanted one.
type verdict struct {
	state   State
	found   []string
	problem string
	level   *Level // where it is another one than the record's
	err     error  // with Unknown
}

func right(found []string) verdict { return verdict{state: Right, found: found} }

func wrong(found []string, format string, args ...any) verdict {
	return verdict{state: Wrong, found: found, problem: fmt.Sprintf(format, args...)}
}

func (v verdict) at(l Level) verdict { v.level = &l; return v }

// judge compares a wanted record with what server s has.
func (c *checker) judge(r Record, s int) verdict {
	switch r.Type {
	case "A", "AAAA":
		return c.judgeAddress(r, s)
	case "CNAME":
		return c.judgeAlias(r, s)
	case "CAA":
		return c.judgeCAA(r, s)
	}
	v := c.said[question{r.Name + ".", dns.StringToType[r.Type]}][s]
	if v.err != nil {
		return verdict{state: Unknown, err: v.err}
	}
	found := shown(v.records)
	if len(found) == 0 && r.Type != "TLSA" {
		return verdict{state: Missing}
	}
	switch r.Type {
	case "MX":
		return c.judgeMX(v.records, found)
	case "SRV":
		return judgeSRV(r, v.records, found)
	case "PTR":
		for _, rr := range v.records {
			if same(rr.(*dns.PTR).Ptr, r.Data) {
				return right(found)
			}
		}
		return wrong(found, "The address has another name.")
	case "TLSA":
		return c.judgeTLSA(r, v.records, found)
	}
	return c.judgeText(r, v.records, s)
}

// shown gives records as in a zone file, without what stands before the data.
func shown(records []dns.RR) (out []string) {
	for _, rr := range records {
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(out)
	return out
}

// same compares names.
func same(a, b string) bool { return strings.EqualFold(dns.Fqdn(a), dns.Fqdn(b)) }

// addrs gives the addresses that a name has by server s, through aliases.
func (c *checker) addrs(name string, s int) (all []netip.Addr, err error) {
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		v := c.said[question{name + ".", kind}][s]
		if v.err != nil {
			return nil, v.err
		}
		for _, rr := range v.records {
			if a := addrOf(rr); a.IsValid() {
				all = append(all, a)
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all), nil
}

func (c *checker) judgeAddress(r Record, s int) verdict {
	have, err := c.addrs(r.Name, s)
	if err != nil {
		return verdict{state: Unknown, err: err}
	}
	var found []string
	ours := 0
	for _, a := range have {
		found = append(found, a.String())
		if contains(c.facts.Addrs, a) {
			ours++
		}
	}
	if alias := c.said[question{r.Name + ".", dns.TypeA}][s].alias; alias != "" {
		return wrong([]string{"CNAME " + alias}, "The domain is an alias: beside a CNAME no other record, such as MX, can stand.")
	}
	wanted, _ := netip.ParseAddr(r.Data)
	switch {
	case r.Data == "" && len(have) > 0, contains(have, wanted):
		return right(found)
	case ours > 0:
		return verdict{state: Missing, found: found, problem: "Another address of the relay is there, this one is not."}.at(Recommended)
	case len(have) > 0:
		return wrong(found, "The domain leads elsewhere.")
	}
	return verdict{state: Missing}
}

// judgeAlias takes an alias, or the same addresses.
func (c *checker) judgeAlias(r Record, s int) verdict {
	v := c.said[question{r.Name + ".", dns.TypeCNAME}][s]
	if v.err != nil {
		return verdict{state: Unknown, err: v.err}
	}
	found := shown(v.records)
	for _, rr := range v.records {
		if same(rr.(*dns.CNAME).Target, r.Data) {
			return right(found)
		}
	}
	have, err := c.addrs(r.Name, s)
	if err != nil {
		return verdict{state: Unknown, err: err}
	}
	relay, err := c.addrs(c.facts.Domain, s)
	if err != nil {
		return verdict{state: Unknown, err: err}
	}
	for _, a := range have {
		found = append(found, a.String())
	}
	switch {
	case len(found) == 0:
		return verdict{state: Missing}
	case len(have) == 0:
		return wrong(found, "It is an alias for a name that has no address.")
	}
	for _, a := range have {
		if !contains(relay, a) && !contains(c.facts.Addrs, a) {
			return wrong(found, "The name leads elsewhere.")
		}
	}
	return right(found)
}

func (c *checker) judgeMX(records []dns.RR, found []string) verdict {
	ours, others := false, 0
	for _, rr := range records {
		if same(rr.(*dns.MX).Mx, c.facts.Domain) {
			ours = true
		} else {
			others++
		}
	}
	switch {
	case ours && others == 0:
		return right(found)
	case ours:
		return wrong(found, "Mail goes to other servers, too.")
	case records[0].(*dns.MX).Mx == ".":
		return wrong(found, "The domain says that it takes no mail.")
	}
	return wrong(found, "Mail goes to another server.")
}

func judgeSRV(r Record, records []dns.RR, found []string) verdict {
	var priority, weight, port uint16
	var host string
	fmt.Sscan(r.Data, &priority, &weight, &port, &host)
	for _, rr := range records {
		if srv := rr.(*dns.SRV); same(srv.Target, host) && srv.Port == port {
			return right(found)
		}
	}
	return wrong(found, "It names another host or port.")
}

// judgeTLSA is strict where others look: a record that does not fit keeps all
// mail of servers that heed DANE away.
func (c *checker) judgeTLSA(r Record, records []dns.RR, found []string) verdict {
	if !c.place.signed {
		return verdict{state: Unneeded, found: found, problem: "The zone is not signed with DNSSEC, so nobody looks."}
	}
	if len(records) == 0 {
		return verdict{state: Missing}.at(Recommended)
	}
	for _, rr := range records {
		t := rr.(*dns.TLSA)
		hash, err := hex.DecodeString(t.Certificate)
		if err == nil && t.Usage == 3 && t.Selector == 1 && t.MatchingType == 1 && strings.HasSuffix(r.Data, " "+hex.EncodeToString(hash)) {
			return right(found)
		}
	}
	return wrong(found, "None of them is for the key of the relay: servers that heed DANE deliver nothing.").at(Required)
}

// judgeCAA looks at the records that an authority looks at: those of the
// domain, else of the nearest name above that has some (RFC 8659 section 3).
func (c *checker) judgeCAA(r Record, s int) verdict {
	var records []dns.RR
	for at := r.Name + "."; ; {
		v := c.said[question{at, dns.TypeCAA}][s]
		if v.err != nil && at != r.Name+"." || v.err == errAbroad {
			v = c.said[question{at, dns.TypeCAA}][len(c.place.servers)] // above the zone resolvers know
		}
		if v.err != nil {
			return verdict{state: Unknown, err: v.err}
		}
		if records = v.records; len(records) > 0 {
			break
		}
		i, end := dns.NextLabel(at, 0)
		if end {
			return verdict{state: Missing}
		}
		at = at[i:]
	}
	found := shown(records)
	issuer, account := splitIssue(r.Value)
	allowed, restricts := "", false
	for _, rr := range records {
		caa := rr.(*dns.CAA)
		tag := strings.ToLower(caa.Tag)
		if caa.Flag&128 != 0 && tag != "issue" && tag != "issuewild" && tag != "iodef" && tag != "issuemail" && tag != "issuevmc" {
			return wrong(found, "A property %q is marked critical: authorities that do not know it issue nothing.", caa.Tag).at(Required)
		}
		if tag != "issue" {
			continue
		}
		restricts = true
		name, only := splitIssue(`0 issue "` + caa.Value + `"`)
		switch {
		case name != issuer:
		case only == "" && account != "":
			allowed = "anybody"
		case only == account:
			return right(found)
		}
	}
	switch {
	case !restricts:
		return verdict{state: Missing, found: found}
	case allowed != "":
		return wrong(found, "Every account at %s may get a certificate for the relay, not the relay's alone.", issuer)
	}
	return wrong(found, "%s may not issue the relay's certificate.", issuer).at(Required)
}

// splitIssue reads the value of an issue property: the authority and the
// account that it is bound to (RFC 8657 section 3).
func splitIssue(data string) (issuer, account string) {
	_, value, _ := strings.Cut(data, `"`)
	fields := strings.Split(strings.TrimSuffix(value, `"`), ";")
	for _, f := range fields[1:] {
		if name, v, ok := strings.Cut(f, "="); ok && strings.EqualFold(strings.TrimSpace(name), "accounturi") {
			account = strings.TrimSpace(v)
		}
	}
	return strings.ToLower(strings.TrimSpace(fields[0])), account
}
