package zone

import (
	"net/url"
	"strings"
)

// caaNames says how authorities call themselves in CAA records, by the host of
// their ACME directory.
var caaNames = map[string]string{
	"letsencrypt.org": "letsencrypt.org",
	"zerossl.com":     "sectigo.com",
	"sectigo.com":     "sectigo.com",
	"buypass.com":     "buypass.com",
	"pki.goog":        "pki.goog",
	"ssl.com":         "ssl.com",
	"actalis.com":     "actalis.it",
}

// IssuerOf gives the authority behind an ACME directory, with our account
// there if one of the account URLs is at it. False for an authority whose name
// in CAA records is not known here: a wrong name would keep it from issuing.
func IssuerOf(directory string, accounts []string) (Issuer, bool) {
	u, err := url.Parse(directory)
	if err != nil {
		return Issuer{}, false
	}
	host := strings.ToLower(u.Hostname())
	for suffix, name := range caaNames {
		if host != suffix && !strings.HasSuffix(host, "."+suffix) {
			continue
		}
		i := Issuer{Domain: name}
		for _, a := range accounts {
			if at, err := url.Parse(a); err == nil && strings.EqualFold(at.Host, u.Host) {
				i.Account = a
			}
		}
		return i, true
	}
	return Issuer{}, false
}
