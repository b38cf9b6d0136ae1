package zone

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// ttl is how long others may remember a record, in seconds.
const ttl = 3600

// Level says how much depends on a record.
type Level int

// The levels of a record.
const (
	Required    Level = iota // without it clients or other servers fail
	Recommended              // without it something works less well
	Optional                 // for those who want it, or under a condition
)

var levels = [...]string{"required", "recommended", "optional"}

func (l Level) String() string { return levels[l] }

// MarshalText gives the word, for JSON.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads the word back.
func (l *Level) UnmarshalText(text []byte) error {
	for i, word := range levels {
		if word == string(text) {
			*l = Level(i)
			return nil
		}
	}
	return fmt.Errorf("no level %q", text)
}

// Record is one record that the DNS shall have.
type Record struct {
	Level Level  `json:"level"`
	Name  string `json:"name"` // whole, lower case, without the dot at its end
	Type  string `json:"type"`
	TTL   int    `json:"ttl"`
	// Data is what stands after the type in a zone file. It is empty where
	// nobody here can know it: the address of a relay behind another machine.
	Data string `json:"data"`
	// Value is the same for the form of a provider: no quotes, a text in one
	// piece, names without the dot at their end. Priority is a field of its own
	// there, -1 where the type has none.
	Value    string `json:"value"`
	Priority int    `json:"priority"`
	Why      string `json:"why"` // what it is for, in a few words
}

// Line is the record as a line of a zone file.
func (r Record) Line() string {
	return fmt.Sprintf("%s. %d IN %s %s", r.Name, r.TTL, r.Type, r.Data)
}

// DKIM is a public key to publish.
type DKIM struct {
	Name string // relative to the domain
	Text string
	Next bool // it does not sign yet
}

// Issuer is an authority that may issue certificates for the relay.
type Issuer struct {
	Domain  string // how CAA records name it: "letsencrypt.org"
	Account string // the URL of our account there; empty before there is one
}

// Facts are what the records follow from.
type Facts struct {
	// Domain is the relay's, a name in lower case.
	Domain string
	// Addrs are the addresses at which the world reaches the relay; none when
	// they are not known.
	Addrs []netip.Addr
	// STS is the id of the MTA-STS policy, empty where none is published.
	STS  string
	DKIM []DKIM
	// Issuers of the relay's certificates; none when they cannot be known.
	Issuers []Issuer
	// Key is the SHA-256 of the public key (SubjectPublicKeyInfo) that the relay
	// shows to other servers, in hex; empty when there is none yet.
	Key string
	// Ports of the services, 0 for one that is off. Mail programs look there;
	// Delta Chat does not need it.
	IMAPS, IMAP, Submissions, Submission uint16
	// Reports is the mail address that gets reports of TLS failures; may be
	// empty.
	Reports string
}

// New gives the records, those that are required first.
func New(f Facts) []Record {
	z := &maker{d: f.Domain}
	host := f.Domain + "."
	z.addresses(f)
	z.add(Required, f.Domain, "MX", "10 "+host, "mail from other servers finds the relay")
	for _, k := range f.DKIM {
		level, why := Required, "other servers check our signatures with it"
		if strings.Contains(k.Text, "k=ed25519") {
			level = Recommended
		}
		if k.Next {
			level, why = Recommended, "the key that will sign next, once it is published"
		}
		z.text(level, k.Name+"."+f.Domain, k.Text, why)
	}
	www := Recommended
	if f.STS != "" {
		www = Required // the certificate carries the name, so it must lead here
		z.text(Required, "_mta-sts."+f.Domain, "v=STSv1; id="+f.STS, "other servers then insist on a valid certificate")
		z.add(Required, "mta-sts."+f.Domain, "CNAME", host, "where that policy is served")
	}
	z.add(www, "www."+f.Domain, "CNAME", host, "for those who type www")
	z.text(Recommended, f.Domain, "v=spf1 a ~all", "mail comes from the relay's own address")
	z.text(Recommended, "_dmarc."+f.Domain, "v=DMARC1;p=reject;adkim=s;aspf=s", "forged mail in the relay's name is refused")
	z.text(Recommended, "_adsp._domainkey."+f.Domain, "dkim=discardable", "the same for older servers")
	for _, i := range f.Issuers {
		value := i.Domain
		if i.Account != "" {
			value += ";accounturi=" + i.Account
		}
		z.add(Recommended, f.Domain, "CAA", `0 issue "`+value+`"`, "nobody else can get a certificate for the relay")
	}
	for _, s := range []struct {
		name string
		port uint16
	}{{"_submission", f.Submission}, {"_submissions", f.Submissions}, {"_imap", f.IMAP}, {"_imaps", f.IMAPS}} {
		if s.port != 0 {
			z.add(Recommended, s.name+"._tcp."+f.Domain, "SRV", fmt.Sprintf("0 1 %d %s", s.port, host), "ordinary mail programs find their server")
		}
	}
	for _, a := range f.Addrs {
		if name, err := dns.ReverseAddr(a.String()); err == nil {
			z.add(Optional, strings.TrimSuffix(name, "."), "PTR", host, "some classic mail servers want it; your hoster sets it")
		}
	}
	if f.Key != "" {
		z.add(Optional, "_25._tcp."+f.Domain, "TLSA", "3 1 1 "+f.Key, "only where the zone is signed with DNSSEC")
	}
	if f.Reports != "" {
		z.text(Optional, "_smtp._tls."+f.Domain, "v=TLSRPTv1; rua=mailto:"+f.Reports, "reports of other servers whose TLS to the relay failed")
	}
	return z.records
}

// maker collects records.
type maker struct {
	d       string
	records []Record
}

// addresses adds A and AAAA; all that are known are required together, one of
// them is enough (see Check).
func (z *maker) addresses(f Facts) {
	const why = "clients and other servers find the relay"
	if len(f.Addrs) == 0 {
		z.add(Required, f.Domain, "A", "", why)
	}
	for _, a := range f.Addrs {
		z.add(Required, f.Domain, family(a), a.String(), why)
	}
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "A"
	}
	return "AAAA"
}

func (z *maker) add(l Level, name, kind, data, why string) {
	value, priority := data, -1
	switch kind {
	case "MX", "SRV":
		first, rest, _ := strings.Cut(data, " ")
		fmt.Sscan(first, &priority)
		value = strings.TrimSuffix(rest, ".")
	case "CNAME", "PTR":
		value = strings.TrimSuffix(data, ".")
	}
	z.records = append(z.records, Record{l, name, kind, ttl, data, value, priority, why})
}

// text adds a TXT record, in strings of at most 255 octets (RFC 1035 section
// 3.3.14).
func (z *maker) text(l Level, name, text, why string) {
	var b strings.Builder
	for rest := text; rest != ""; {
		n := min(255, len(rest))
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(rest[:n]) + `"`)
		rest = rest[n:]
	}
	z.records = append(z.records, Record{l, name, "TXT", ttl, b.String(), text, -1, why})
}
