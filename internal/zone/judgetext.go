package zone

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// judgeText compares texts by their tags. Others at the same name that are
// about something else do not count.
func (c *checker) judgeText(r Record, records []dns.RR, s int) verdict {
	kind := textKind(r.Value)
	var texts, found []string
	for _, rr := range records {
		if text := strings.Join(rr.(*dns.TXT).Txt, ""); kind == "v=dkim1" || strings.HasPrefix(squeezed(text), kind) {
			texts = append(texts, text)
			found = append(found, shown([]dns.RR{rr})...)
		}
	}
	switch {
	case len(texts) == 0:
		return verdict{state: Missing}
	case len(texts) > 1 && kind != "dkim=":
		return wrong(found, "There are %d of them: readers take none.", len(texts))
	}
	problem := ""
	want, have := tagsOf(r.Value), tagsOf(texts[0])
	switch kind {
	case "v=spf1":
		problem = c.judgeSPF(texts[0], s)
	case "v=dkim1":
		problem = judgeKey(want, have)
	case "v=stsv1":
		problem = c.judgeSTS(have)
	case "v=tlsrptv1":
		if have["rua"] == "" {
			problem = "It names nobody to report to."
		}
	case "dkim=":
		if !strings.EqualFold(have["dkim"], want["dkim"]) {
			problem = "It says something else."
		}
	default:
		problem = judgeDMARC(have)
	}
	if problem != "" {
		return wrong(found, "%s", problem)
	}
	return right(found)
}

// textKind is how texts of a kind begin, in lower case without blanks.
func textKind(value string) string {
	value = squeezed(value)
	for _, kind := range []string{"v=spf1", "v=dmarc1", "v=stsv1", "v=dkim1", "v=tlsrptv1", "dkim="} {
		if strings.HasPrefix(value, kind) {
			return kind
		}
	}
	return value
}

// squeezed is the beginning of a text without blanks, in lower case.
func squeezed(text string) string {
	text = strings.ToLower(text[:min(len(text), 100)])
	return strings.NewReplacer(" ", "", "\t", "", `"`, "").Replace(text)
}

// tagsOf reads "a=b; c=d". Blanks, and quotes that zone editors leave behind,
// mean nothing.
func tagsOf(text string) map[string]string {
	tags := map[string]string{}
	for i, field := range strings.SplitN(text, ";", 100) {
		name, value, ok := strings.Cut(field, "=")
		name = strings.ToLower(strings.Trim(name, " \t\""))
		if _, twice := tags[name]; ok && !twice && i < 99 {
			tags[name] = strings.NewReplacer(" ", "", "\t", "", `"`, "").Replace(value)
		}
	}
	return tags
}

// judgeKey compares a DKIM key (RFC 6376 section 3.6.1) by what verifiers
// take from it.
func judgeKey(want, have map[string]string) string {
	kind := have["k"]
	if kind == "" {
		kind = "rsa"
	}
	p, published := have["p"]
	switch {
	case have["v"] != "" && have["v"] != "DKIM1" || !published:
		return "It is no DKIM key."
	case p == "":
		return "The key is revoked there."
	case !strings.EqualFold(kind, want["k"]) || strings.TrimRight(p, "=") != strings.TrimRight(want["p"], "="):
		return "It is another key than the one that signs; was it cut short?"
	case hasWord(have["t"], "y"):
		return "The key is marked as a test (t=y), so verifiers pass over it."
	case have["h"] != "" && !hasWord(have["h"], "sha256"):
		return "The key is not for SHA-256 there (h=)."
	case have["s"] != "" && !hasWord(have["s"], "*") && !hasWord(have["s"], "email"):
		return "The key is not for mail there (s=)."
	}
	return ""
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ":") {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}

func (c *checker) judgeSTS(have map[string]string) string {
	switch {
	case !isPolicyID(have["id"]):
		return "It has no id of letters and digits."
	case c.cfg.Published != nil && !c.cfg.Published(have["id"]):
		return "The id is still that of another policy, so nobody fetches the one of now."
	}
	return ""
}

func judgeDMARC(have map[string]string) string {
	switch {
	case !strings.EqualFold(have["p"], "reject"):
		return "It does not ask to refuse forged mail (p=reject)."
	case have["pct"] != "" && have["pct"] != "100":
		return "It is for a part of the mail only (pct)."
	case !strings.EqualFold(have["adkim"], "s") || !strings.EqualFold(have["aspf"], "s"):
		return "It lets names below the domain speak for it (adkim=s and aspf=s are strict)."
	}
	return ""
}

// maxTerms bounds the terms of an SPF record; RFC 7208 section 4.6.4 lets
// readers give up after ten look-ups.
const maxTerms = 100

// judgeSPF sees whether mail from the relay's addresses passes. What depends
// on the records of others is trusted.
func (c *checker) judgeSPF(text string, s int) string {
	domain, err := c.addrs(c.facts.Domain, s)
	if err != nil {
		return ""
	}
	from := c.facts.Addrs
	if len(from) == 0 {
		from = domain
	}
	domain = append(domain, c.facts.Addrs...) // as it will be: what is missing there is told there
	terms := strings.Fields(strings.ToLower(text))[1:]
	if len(terms) > maxTerms {
		return "It has more terms than readers take."
	}
	for _, a := range from {
		if problem := c.spfFor(a, terms, domain); problem != "" {
			return problem
		}
	}
	return ""
}

// spfFor goes through the terms for one address until one decides.
func (c *checker) spfFor(a netip.Addr, terms []string, domain []netip.Addr) string {
	for _, term := range terms {
		matched, foreign := c.spfMatches(term, a, domain)
		switch {
		case foreign:
			return ""
		case !matched:
			continue
		case strings.Trim(term, "+") == "all":
			return "It lets the whole world send in the relay's name."
		case strings.ContainsAny(term[:1], "-~?"):
			return "It does not let " + a.String() + " send in the relay's name."
		}
		return ""
	}
	return "It does not let " + a.String() + " send in the relay's name."
}

// spfMatches tells whether a mechanism is about an address, or whether only
// others could tell.
func (c *checker) spfMatches(term string, a netip.Addr, domain []netip.Addr) (matched, foreign bool) {
	term = strings.TrimLeft(term, "+-~?")
	name, value, _ := strings.Cut(term, ":")
	switch {
	case name == "all":
		return true, false
	case name == "ip4" || name == "ip6":
		if p, err := netip.ParsePrefix(value); err == nil {
			return p.Contains(a), false
		}
		one, err := netip.ParseAddr(value)
		return err == nil && one == a, false
	case name == "ptr" || strings.HasPrefix(name, "exp="):
		return false, false
	}
	host, sizes, sized := strings.Cut(name, "/")
	of := ""
	if value != "" {
		of, sizes, sized = strings.Cut(value, "/")
	}
	if host != "a" && host != "mx" || of != "" && !same(of, c.facts.Domain) {
		return false, true // include, exists, redirect=, another name
	}
	for _, d := range domain {
		if d == a || sized && near(d, a, sizes) {
			return true, false
		}
	}
	return false, false
}

// near tells whether two addresses are in one network of the size that SPF
// writes after "a" or "mx": "24", "24//64", "/64" for IPv6 alone.
func near(a, b netip.Addr, sizes string) bool {
	four, six, _ := strings.Cut(sizes, "/")
	size := four
	if a.Is6() {
		size = strings.TrimPrefix(six, "/")
	}
	bits, err := strconv.Atoi(size)
	if err != nil {
		return false
	}
	p, err := a.Prefix(bits)
	return err == nil && p.Contains(b)
}
