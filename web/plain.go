package web

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Redirect makes the handler for port 80: everything is sent to HTTPS, except
// /generate_204, which clients of the iroh relay ask there to find out whether
// a captive portal is in the way; a redirect would look like one.
//
// Answers to ACME challenges belong in front of it.
func Redirect(cfg Config) http.Handler {
	cfg = cfg.withDefaults()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		if r.URL.Path == "/generate_204" {
			generate204(w, r)
			return
		}
		target := r.URL.RequestURI()
		if r.Method == http.MethodConnect || !strings.HasPrefix(target, "/") { // "*", "mailto:x": no path at all
			notFound(w)
			return
		}
		redirect(w, "https://"+ourHost(r.Host, cfg)+target)
	})
}

// ourHost gives the host that was asked for when it is a name that the relay
// has, else the relay's own: nobody is sent elsewhere. Only whole names are
// compared, for a Host header may be all kinds of text.
func ourHost(asked string, cfg Config) string {
	switch name := strings.ToLower(hostname(asked)); name {
	case cfg.Domain, "mta-sts." + cfg.Domain:
		return name
	}
	return urlHost(cfg.Host)
}

// hostname is a Host header without its port.
func hostname(header string) string {
	if name, _, err := net.SplitHostPort(header); err == nil {
		return name
	}
	return header
}

// bareHost is a mail domain as a name or an IP address.
func bareHost(domain string) string {
	literal, ok := strings.CutPrefix(domain, "[")
	if !ok {
		return domain
	}
	literal = strings.TrimSuffix(literal, "]")
	if len(literal) > 5 && strings.EqualFold(literal[:5], "IPv6:") {
		literal = literal[5:]
	}
	return literal
}

// urlHost puts the brackets around an IPv6 address that a URL demands.
func urlHost(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
		return "[" + host + "]"
	}
	return host
}

func redirect(w http.ResponseWriter, target string) {
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusMovedPermanently)
}

// challenges are the headers by which clients see that it was this server
// that answered, and what they are answered with.
var challenges = [...]struct{ ask, answer string }{
	{"X-Iroh-Challenge", "X-Iroh-Response"},
	{"X-Tailscale-Challenge", "X-Tailscale-Response"},
}

func generate204(w http.ResponseWriter, r *http.Request) {
	for _, c := range challenges {
		if value := r.Header.Get(c.ask); isChallenge(value) {
			w.Header().Set(c.answer, "response "+value)
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

func isChallenge(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
