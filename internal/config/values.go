package config

import (
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

func (k *checker) between(key string, v, low, high int) {
	if v < low || v > high {
		k.bad(key, "must be from %d to %d, not %d", low, high, v)
	}
}

func (k *checker) sizeBetween(key string, v, low, high Size) bool {
	if v < low || v > high {
		k.bad(key, `must be from "%s" to "%s", not %s`, low, high, v)
		return false
	}
	return true
}

func (k *checker) durationBetween(key string, v Duration, low, high time.Duration) {
	if v < Duration(low) || v > Duration(high) {
		k.bad(key, `must be from "%s" to "%s", not "%s"`, Duration(low), Duration(high), v)
	}
}

func (k *checker) oneOf(key, v string, words ...string) {
	if slices.Contains(words, v) {
		return
	}
	text := fmt.Sprintf(`must be "%s" or "%s", not %s`,
		strings.Join(words[:len(words)-1], `", "`), words[len(words)-1], quoteShort(v))
	if w := nearestWord(v, words); w != "" {
		text += fmt.Sprintf(`, did you mean "%s"?`, w)
	}
	k.bad(key, "%s", text)
}

// quoteShort quotes what somebody wrote, cut to a length that a line takes.
func quoteShort(s string) string {
	if len(s) > maxDistance {
		s = strings.ToValidUTF8(s[:maxDistance], "") + "..."
	}
	return fmt.Sprintf("%q", s)
}

// checkDomain tells why d is no domain that a relay can have.
func checkDomain(d string) string {
	switch {
	case d == "":
		return `must be set: domain = "chat.example.org"`
	case len(d) > 253:
		return "is longer than 253 octets"
	case strings.HasPrefix(d, "[") || strings.Contains(d, ":"):
		return "must be a name or an IPv4 address without brackets and port"
	case strings.ToLower(d) != d:
		return fmt.Sprintf("must be in lower case: %s", quoteShort(strings.ToLower(d)))
	}
	if ip, err := netip.ParseAddr(d); err == nil {
		if ip.IsUnspecified() || ip.IsMulticast() {
			return "is an address that no relay can have"
		}
		return ""
	}
	labels := strings.Split(strings.TrimPrefix(d, "_"), ".")
	for _, l := range labels {
		if why := checkLabel(l); why != "" {
			return why
		}
	}
	last := labels[len(labels)-1]
	switch {
	case len(labels) < 2:
		return "must have a dot: a whole name such as chat.example.org"
	case strings.Trim(last, "0123456789") == "":
		return "ends with a number, and is no IPv4 address"
	}
	return ""
}

func checkLabel(l string) string {
	switch {
	case l == "":
		return "has an empty part between its dots"
	case len(l) > 63:
		return "has a part of more than 63 octets"
	case l[0] == '-' || l[len(l)-1] == '-':
		return "has a part that begins or ends with a hyphen"
	}
	for _, c := range l {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
		case c > 0x7f:
			return `must be in ASCII: write the "xn--" form of the name`
		case c == '_':
			return `can have "_" only as its first character`
		default:
			return fmt.Sprintf("has the character %q, which no domain has", c)
		}
	}
	return ""
}

func (k *checker) url(key, v string) {
	if v == "" {
		return
	}
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil ||
		u.Fragment != "" || len(v) > 1000 || strings.ContainsAny(v, " \t\r\n\"") {
		k.bad(key, `must be empty or a URL such as "https://iroh.example.org", not %s`, quoteShort(v))
	}
}

func (k *checker) mailAddress(key, v string) {
	if v == "" {
		return
	}
	a, err := mail.ParseAddress(v)
	if err != nil || a.Address != v || len(v) > 254 || strings.ContainsAny(v, " \"") || !isASCII(v) {
		k.bad(key, `must be empty or a mail address such as "admin@example.org"`)
	}
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c > 0x7e || c < 0x20 })
}

// LoginCapabilities lists the words that imap.login_capabilities may have, all
// of which the IMAP server can keep after login. To APPENDLIMIT it adds the
// limit.
func LoginCapabilities() []string {
	return []string{
		"IMAP4rev1", "ID", "IDLE", "LITERAL+", "XCHATMAIL", "XDELTAPUSH",
		"ENABLE", "NAMESPACE", "CHILDREN", "SPECIAL-USE", "UNSELECT", "UIDPLUS", "MOVE",
		"MULTIAPPEND", "BINARY", "SAVEDATE", "OBJECTID", "ESEARCH", "SEARCHRES", "CONDSTORE", "QRESYNC",
		"APPENDLIMIT", "COMPRESS=DEFLATE", "LIST-EXTENDED", "LIST-STATUS", "STATUS=SIZE", "METADATA", "QUOTA", "QUOTA=RES-STORAGE",
	}
}

func (k *checker) imap(i *IMAP) {
	const key = "imap.login_capabilities"
	k.durationBetween("imap.keepalive", i.Keepalive, 10*time.Second, 29*time.Minute)
	known := LoginCapabilities()
	for n, word := range i.LoginCapabilities {
		switch {
		case slices.Index(i.LoginCapabilities, word) < n:
			k.badElement(key, n, "has %s twice", quoteShort(word))
		case !slices.Contains(known, word):
			text := "has the unknown capability " + quoteShort(word)
			if w := nearestWord(word, known); w != "" {
				text += fmt.Sprintf(", did you mean %q?", w)
			}
			k.badElement(key, n, "%s", text)
		}
	}
	if !slices.Contains(i.LoginCapabilities, "IMAP4rev1") {
		k.bad(key, `must have "IMAP4rev1"`)
	}
	if n := slices.Index(i.LoginCapabilities, "COMPRESS=DEFLATE"); n >= 0 && !i.Compress {
		k.badElement(key, n, `has "COMPRESS=DEFLATE", which wants imap.compress = true`)
	}
}

// addressPort wants "192.0.2.1:53", a numeric address with its port.
func (k *checker) addressPort(key, v string) {
	if a, err := netip.ParseAddrPort(v); err != nil || a.Port() == 0 {
		k.bad(key, `must be a numeric address with a port such as "192.0.2.53:53", not %s`, quoteShort(v))
	}
}
