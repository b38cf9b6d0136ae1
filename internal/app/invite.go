package app

import (
	"crypto/rand"
	"net"
	"strconv"
	"strings"

	"barid/internal/config"
	"barid/web"
)

// Invite gives the dclogin: link of an account on this relay, with the
// addresses it listens on: what a laboratory needs, where no name resolves
// and no certificate is trusted. Start must have been called.
func (a *App) Invite(name, password string) string {
	host, imap := hostPort(a.Addr("imaps"))
	_, smtp := hostPort(a.Addr("submissions"))
	return web.LoginURI(name+"@"+a.names.mail, password, web.LoginOptions{
		Host: host, IMAPPort: imap, SMTPPort: smtp,
		IMAPSecurity: web.SSL, SMTPSecurity: web.SSL, AcceptInvalid: true,
	})
}

// NewInvite is Invite for an account that nobody has yet, with a name and a
// password out of the random source.
func (a *App) NewInvite() string {
	name := strings.ToLower(rand.Text())
	return a.Invite(name[:min(a.cfg.Accounts.UsernameMaxLength, len(name))], rand.Text())
}

// services lists what the autoconfiguration announces: the ports that are
// listened on, in the order in which clients shall try them.
func services(on config.Listen, host string) []web.Service {
	var all []web.Service
	add := func(protocol, socket string, addrs []string) {
		if len(addrs) > 0 {
			if _, port := hostPort(addrs[0]); port != 0 {
				all = append(all, web.Service{Protocol: protocol, Host: host, Port: port, Socket: socket})
			}
		}
	}
	add("imap", "SSL", on.IMAPS)
	add("imap", "STARTTLS", on.IMAP)
	add("imap", "SSL", on.HTTPS)
	add("smtp", "SSL", on.Submissions)
	add("smtp", "STARTTLS", on.Submission)
	add("smtp", "SSL", on.HTTPS)
	return all
}

// hostPort splits an address that config has checked.
func hostPort(addr string) (host string, port uint16) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0
	}
	return host, uint16(n)
}
