package web

import (
	"net/netip"
	"strconv"
	"strings"
)

// Security is how a connection to a service is protected, in the words of
// dclogin: links.
type Security string

// The values of Security.
const (
	SSL      Security = "ssl" // TLS from the first octet
	StartTLS Security = "starttls"
	Plain    Security = "plain" // none; for laboratories
)

// LoginOptions say in a dclogin: link what a client shall not find out by
// itself. What is zero is left out. A client that is given a host tries no
// other; given no port and no security it tries the usual ones.
type LoginOptions struct {
	Host                       string // a name or an IP address without brackets
	IMAPPort, SMTPPort         uint16
	IMAPSecurity, SMTPSecurity Security
	// AcceptInvalid makes the client accept any certificate.
	AcceptInvalid bool
}

// LoginURI gives the dclogin: link with which a client logs in to an account,
// which may be born by that. The address keeps its "@", "[" and "]"; all else
// that is no letter, digit or one of "-._~" is percent-encoded.
//
// The link carries the password: it must not reach a log.
func LoginURI(address, password string, opts LoginOptions) string {
	b := &strings.Builder{}
	b.WriteString("dclogin:")
	escape(b, address, "@[]")
	b.WriteString("?p=")
	escape(b, password, "")
	b.WriteString("&v=1")
	option := func(name, value string) {
		if value != "" {
			b.WriteString("&" + name + "=")
			escape(b, value, "")
		}
	}
	option("ih", opts.Host)
	option("ip", port(opts.IMAPPort))
	option("is", string(opts.IMAPSecurity))
	option("sh", opts.Host)
	option("sp", port(opts.SMTPPort))
	option("ss", string(opts.SMTPSecurity))
	if opts.AcceptInvalid {
		b.WriteString("&ic=3")
	}
	return b.String()
}

// AccountURI gives the link with which a client asks a relay for a new
// account. The domain is as in addresses.
func AccountURI(domain string) string {
	return "DCACCOUNT:https://" + urlHost(bareHost(domain)) + "/new"
}

// InviteURI is AccountURI for who has an invitation's token: letters and
// digits.
func InviteURI(domain, token string) string { return AccountURI(domain) + tokenQuery(token) }

// InvitePage gives the address of the page that shows an invitation to a
// browser.
func InvitePage(domain, token string) string {
	return "https://" + urlHost(bareHost(domain)) + "/" + tokenQuery(token)
}

// accountLink is InviteURI as browsers know the scheme; AccountURI without a
// token.
func accountLink(domain, token string) string {
	return "dcaccount:" + strings.TrimPrefix(InviteURI(domain, token), "DCACCOUNT:")
}

// tokenQuery is how a token stands in a URL.
func tokenQuery(token string) string {
	if token == "" {
		return ""
	}
	return "?t=" + token
}

// escape writes s percent-encoded (RFC 3986 section 2.3), except for the
// octets in keep.
func escape(b *strings.Builder, s, keep string) {
	const hex = "0123456789ABCDEF"
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			strings.IndexByte("-._~", c) >= 0, strings.IndexByte(keep, c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
}

func port(p uint16) string {
	if p == 0 {
		return ""
	}
	return strconv.Itoa(int(p))
}

// loginOptions gives what clients of a self-signed relay have to be told: the
// host when the domain does not lead there by itself, and the ports when they
// are not the usual ones. Whoever is told nothing asks the autoconfiguration
// and has more ways in.
func loginOptions(cfg Config) LoginOptions {
	opts := LoginOptions{AcceptInvalid: true}
	if _, err := netip.ParseAddr(cfg.Host); err == nil || cfg.Host != cfg.Domain {
		opts.Host = cfg.Host
	}
	imap, smtp := firstOf(cfg.Services, "imap"), firstOf(cfg.Services, "smtp")
	if usual(imap, 993) && usual(smtp, 465) || imap.Port == 0 || smtp.Port == 0 {
		return opts
	}
	opts.Host = cfg.Host
	opts.IMAPPort, opts.IMAPSecurity = imap.Port, imap.security()
	opts.SMTPPort, opts.SMTPSecurity = smtp.Port, smtp.security()
	return opts
}

func firstOf(services []Service, protocol string) Service {
	for _, s := range services {
		if s.Protocol == protocol {
			return s
		}
	}
	return Service{}
}

func usual(s Service, port uint16) bool { return s.Port == port && s.security() == SSL }
