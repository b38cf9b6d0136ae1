package app

import (
	"barid/acme"
	"barid/internal/netserve"
)

// listeners translates the configuration's listen table.
func (a *App) listeners() []netserve.Listener {
	on, lim := a.cfg.Listen, a.cfg.Limits
	tls := a.certs.TLSConfig()
	imap := netserve.Listener{PerClient: lim.IMAPPerClient, Max: lim.MaxIMAPConnections, TLS: tls, Handler: a.imap, Refuse: tooMany("* BYE Too many connections, try again later")}
	smtp := netserve.Listener{PerClient: lim.SubmissionPerClient, Max: lim.MaxSMTPConnections, TLS: tls, Handler: a.submit, Refuse: tooMany("421 4.7.0 Error: too many connections, try again later")}
	https := netserve.Listener{
		Mode: netserve.Mux, PerClient: lim.HTTPSPerClient, TLS: a.webTLS(), Handler: a.web.https, Plain: a.web.redirect,
		ALPN: map[string]netserve.Handler{"imap": a.imap, "smtp": a.submit, acme.ChallengeProtocol: proof{}},
	}
	a.calls.behind(&https)

	proxies, unix := on.ProxyNetworks()
	var all []netserve.Listener
	add := func(name string, addrs []string, l netserve.Listener) {
		for _, addr := range addrs {
			l.Name, l.Addr = name, addr
			l.Proxies, l.ProxyUnix = proxies, unix
			all = append(all, l)
		}
	}
	withTLS := func(l netserve.Listener) netserve.Listener { l.Mode = netserve.TLS; return l }
	inClear := func(l netserve.Listener, h netserve.Handler) netserve.Listener { l.Handler = h; return l }
	add("imaps", on.IMAPS, withTLS(imap))
	add("imap", on.IMAP, imap)
	add("submissions", on.Submissions, withTLS(smtp))
	add("submission", on.Submission, smtp)
	add("smtp", on.SMTP, netserve.Listener{
		PerClient: lim.ReceivePerClient, Max: lim.MaxReceiveConnections, Handler: a.receive,
		Refuse: tooMany("421 4.7.0 Error: too many connections, try again later"),
	})
	add("https", on.HTTPS, https)
	if a.calls != nil {
		streams := netserve.Listener{PerClient: lim.TURNPerClient, TLS: a.webTLS(), Handler: a.calls}
		add("turn", on.TURN, streams)
		add("turns", on.TURNS, withTLS(streams))
	}
	add("http", on.HTTP, netserve.Listener{PerClient: lim.HTTPSPerClient, Handler: a.web.redirect})
	add("imap_clear", on.IMAPClear, inClear(imap, a.imap.Clear()))
	add("submission_clear", on.SubmissionClear, inClear(smtp, a.submit.Clear()))
	add("http_clear", on.HTTPClear, netserve.Listener{Handler: a.web.clear})
	add("metrics", on.Metrics, netserve.Listener{Handler: a.web.metrics})
	return all
}
